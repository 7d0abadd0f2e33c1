-- Take back the jobs whose lease ran out, and end backoffs that are over. After an outage (of Redis or of every reaper) all leases are extended once instead.
-- A job that was lost too often without a newer checkpoint fails as poison.
-- ARGV: lease_ms, outage_ms, loss_budget, jitter in [0, 1)
-- Returns: {'extended', n} | {'reaped', id, ...}
local lease_ms, outage_ms, budget, jitter = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local last = tonumber(redis.call('GET', P .. 'reaper') or '0')
redis.call('SET', P .. 'reaper', now)
promote()
if now - last > outage_ms then
  local held = redis.call('ZRANGE', P .. 'leases', 0, -1)
  for _, id in ipairs(held) do redis.call('ZADD', P .. 'leases', 'XX', now + lease_ms, id) end
  return {'extended', tostring(#held)}
end
local reaped = {'reaped'}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', P .. 'leases', 0, now, 'LIMIT', 0, 100)) do
  local losses = redis.call('HINCRBY', job_key(id), 'losses', 1)
  local attempt = cjson.decode(redis.call('LINDEX', job_key(id) .. ':attempts', -1))
  local fault = {kind = 'worker_lost', message = 'no beat from ' .. attempt.worker .. ' for a whole lease', device = attempt.device}
  redis.call('HINCRBY', job_key(id), 'fence', 1)
  if get(id, 'cancel_requested') == '1' then
    close_attempt(id, 'cancelled')
    finish(id, 'cancelled')
    emit(id, 'cancelled')
  elseif losses >= budget then
    fault.kind = 'poison'
    fault.message = 'lost ' .. losses .. ' workers without a newer checkpoint; last: ' .. fault.message
    close_attempt(id, 'lost', cjson.encode(fault))
    finish(id, 'failed', cjson.encode(fault))
    emit(id, 'failed', cjson.encode(fault))
  else
    close_attempt(id, 'lost', cjson.encode(fault))
    redis.call('HINCRBY', job_key(id), 'requeues', 1)
    set(id, 'last_reason', 'worker_lost')
    count('requeues', 'worker_lost', 1)
    move(id, 'queued')
    local backoff = losses == 1 and 0 or math.min(60000, 1000 * 2 ^ (losses - 2)) * (0.5 + jitter / 2)
    enqueue(id, get(id, 'pool'), math.floor(backoff))
    emit(id, 'requeued', cjson.encode({pool = get(id, 'pool'), fault = fault}))
  end
  reaped[#reaped + 1] = id
end
return reaped
