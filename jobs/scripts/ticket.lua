-- The life of a batch ticket. ARGV: move, id, job id, fence, then by move:
--   open: ticket (JSON), deadline_ms          -> 'ok' | 'stale'
--   audit: ticket (JSON), deadline_ms         -> 'ok' | 'stale' | 'busy' (another ticket is open)
--   take: worker                              -> 'ok' | 'gone' (taken, late, or its attempt is no longer the job's)
--   answer: worker, result (JSON)             -> 'ok' | 'gone'
local move_to, id, job, fence = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local key, open = P .. 'ticket:' .. id, P .. 'tickets'
local opens = move_to == 'open' or move_to == 'audit'
if not live(job, fence) then return opens and 'stale' or 'gone' end
if opens then
  if redis.call('EXISTS', key) == 1 then return 'ok' end
  redis.call('ZREMRANGEBYSCORE', open, 0, now)
  if move_to == 'audit' and redis.call('EXISTS', open) == 1 then return 'busy' end
  redis.call('HSET', key, 'ticket', ARGV[5], 'deadline_ms', now + tonumber(ARGV[6]), 'state', 'open')
  redis.call('EXPIRE', key, 3600)
  redis.call('ZADD', open, now + tonumber(ARGV[6]), id)
  redis.call('EXPIRE', open, 3600)
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
redis.call('ZREM', open, id)
return 'ok'
