-- End a job for good. Sent again after a lost reply it answers the same.
-- ARGV: id, fence, state (succeeded failed cancelled), error (JSON or ''), artifacts (JSON or '')
-- Returns: 'ok' | 'stale'
local id, fence, state = ARGV[1], ARGV[2], ARGV[3]
if get(id, 'fence') == fence and get(id, 'state') == state then return 'ok' end
if not live(id, fence) then return 'stale' end
close_attempt(id, state, ARGV[4])
if ARGV[5] ~= '' then set(id, 'artifacts', ARGV[5]) end
finish(id, state, ARGV[4])
emit(id, state, ARGV[4] ~= '' and ARGV[4] or '{}')
return 'ok'
