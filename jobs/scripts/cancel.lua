-- Queued: cancelled now. Running: a flag that the next beat sees. ARGV: id
-- Returns: 'unknown' | 'final' | 'cancelled' | 'requested'
local id = ARGV[1]
local state = get(id, 'state')
if not state then return 'unknown' end
if state == 'queued' then
  shelve(id)
  finish(id, 'cancelled')
  emit(id, 'cancelled')
  return 'cancelled'
end
if state ~= 'running' then return state == 'cancelled' and 'cancelled' or 'final' end
if get(id, 'cancel_requested') ~= '1' then
  set(id, 'cancel_requested', 1, 'phase', 'cancelling')
  emit(id, 'cancel_requested')
end
return 'requested'
