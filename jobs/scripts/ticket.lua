-- The life of a batch ticket. ARGV: move, id, job id, fence, then by move:
--   open: ticket (JSON), deadline_ms          -> 'ok' | 'stale'
--   take: worker                              -> 'ok' | 'gone' (taken, late, or its attempt is no longer the job's)
--   answer: worker, result (JSON)             -> 'ok' | 'gone'
local move_to, id, job, fence = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local key = P .. 'ticket:' .. id
if not live(job, fence) then return move_to == 'open' and 'stale' or 'gone' end
if move_to == 'open' then
  if redis.call('EXISTS', key) == 0 then
    redis.call('HSET', key, 'ticket', ARGV[5], 'deadline_ms', now + tonumber(ARGV[6]), 'state', 'open')
    redis.call('EXPIRE', key, 3600)
  end
  return 'ok'
end
local state, worker = redis.call('HGET', key, 'state'), redis.call('HGET', key, 'worker')
if now > tonumber(redis.call('HGET', key, 'deadline_ms') or '0') then return 'gone' end
if move_to == 'take' then
  if state ~= 'open' then return 'gone' end
  redis.call('HSET', key, 'state', 'taken', 'worker', ARGV[5])
  return 'ok'
end
if state ~= 'taken' or worker ~= ARGV[5] then return 'gone' end
redis.call('HSET', key, 'state', 'answered', 'result', ARGV[6])
return 'ok'
