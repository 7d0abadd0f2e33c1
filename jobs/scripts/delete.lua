-- Forget a job that has ended. ARGV: id
-- Returns: 'unknown' | 'active' | 'ok'
local id = ARGV[1]
local state = get(id, 'state')
if not state then return 'unknown' end
if state == 'queued' or state == 'running' then return 'active' end
redis.call('ZREM', P .. 'jobs', id)
redis.call('ZREM', P .. 'jobs:' .. state, id)
redis.call('SREM', P .. 'unfiled', id)
redis.call('DEL', job_key(id), job_key(id) .. ':attempts', job_key(id) .. ':events', job_key(id) .. ':ledger', job_key(id) .. ':alerts')
redis.call('XADD', P .. 'events', 'MAXLEN', '~', 10000, '*', 'job', id, 'type', 'deleted')
return 'ok'
