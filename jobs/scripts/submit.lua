-- Make a job, once per Idempotency-Key; the key of a job that was deleted is free again.
-- ARGV: id, owner, spec, sources, priority, pool, max_active, idempotency key or '', digest of the body, parent or '', gpu_wait_ms,
--   checkpoint to start from (JSON with step) or '', the occasions of its alerts (JSON list of lists) or ''
-- Returns: {'created', id, its fields} | {'replayed', id} | {'conflict', id} | {'quota', active}
local id, owner, spec, sources, priority, pool, max_active = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5]), ARGV[6], tonumber(ARGV[7])
local idem, digest, parent = ARGV[8], ARGV[9], ARGV[10]
local idem_key = P .. 'idem:' .. owner .. ':' .. idem
if idem ~= '' then
  local seen = redis.call('GET', idem_key)
  if seen then
    local first, body = seen:match('^(%S+) (%S+)$')
    if redis.call('EXISTS', job_key(first)) == 1 then return {body == digest and 'replayed' or 'conflict', first} end
  end
end
if redis.call('EXISTS', job_key(id)) == 1 then return {'replayed', id} end
local active = redis.call('SCARD', P .. 'active:' .. owner)
if max_active > 0 and active >= max_active then return {'quota', active} end
set(id, 'id', id, 'owner', owner, 'spec', spec, 'sources', sources, 'pool', pool, 'placement', pool, 'gpu_wait_ms', ARGV[11], 'fence', 0, 'revision', 0,
  'created_ms', now, 'queued_ms', now, 'place', string.format('%.0f', -priority * 1e13 + now))
if parent ~= '' then set(id, 'parent_id', parent) end
if ARGV[12] ~= '' then set(id, 'checkpoint', ARGV[12], 'next_step', cjson.decode(ARGV[12]).step) end
if ARGV[13] ~= '' then set(id, 'alerts', ARGV[13]) end
redis.call('ZADD', P .. 'jobs', now, id)
redis.call('SADD', P .. 'active:' .. owner, id)
move(id, 'queued')
offer(id)
emit(id, 'submitted')
if idem ~= '' then redis.call('SET', idem_key, id .. ' ' .. digest, 'EX', 259200) end
return {'created', id, redis.call('HGETALL', job_key(id))}
