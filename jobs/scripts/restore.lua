-- Put a job back that the store no longer knows. One that had not ended is queued again, from its checkpoint, under a new fence.
-- ARGV: id, state, fields (JSON of strings), attempts (JSON list), events (JSON list of {id, type, seq, at, data}), ledger (JSON list)
-- Returns: 'ok' | 'there'
local id, state = ARGV[1], ARGV[2]
if redis.call('EXISTS', job_key(id)) == 1 then return 'there' end
for field, value in pairs(cjson.decode(ARGV[3])) do set(id, field, value) end
for _, attempt in ipairs(cjson.decode(ARGV[4])) do redis.call('RPUSH', job_key(id) .. ':attempts', attempt) end
for _, event in ipairs(cjson.decode(ARGV[5])) do
  redis.call('XADD', job_key(id) .. ':events', event.id, 'type', event.type, 'seq', event.seq, 'at', event.at, 'data', event.data)
end
for _, run in ipairs(cjson.decode(ARGV[6])) do redis.call('RPUSH', job_key(id) .. ':ledger', run) end
redis.call('ZADD', P .. 'jobs', num(id, 'created_ms'), id)
if state ~= 'queued' and state ~= 'running' then
  move(id, state)
  redis.call('PEXPIRE', job_key(id) .. ':events', KEEP_MS)
  redis.call('PEXPIRE', job_key(id) .. ':ledger', KEEP_MS)
  return 'ok'
end
redis.call('HINCRBY', job_key(id), 'fence', 1)
redis.call('SADD', P .. 'active:' .. get(id, 'owner'), id)
move(id, 'queued')
enqueue(id, get(id, 'pool'), 0)
emit(id, 'requeued', cjson.encode({pool = get(id, 'pool'), fault = {kind = 'worker_lost', message = 'restored from its files'}}))
return 'ok'
