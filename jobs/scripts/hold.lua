-- Pause (held = 1) or resume (held = 0). A running job gives itself back at its next checkpoint and stays held.
-- ARGV: id, held
-- Returns: 'unknown' | 'final' | 'ok'
local id, held = ARGV[1], ARGV[2]
local state = get(id, 'state')
if not state then return 'unknown' end
if state ~= 'queued' and state ~= 'running' then return 'final' end
if (get(id, 'held') or '0') == held then return 'ok' end
set(id, 'held', held)
if state == 'queued' then
  if held == '1' then shelve(id) else offer(id) end
end
emit(id, held == '1' and 'paused' or 'resumed')
return 'ok'
