-- A worker says that it lives. It counts for its pool only while it is ready (its device healthy).
-- ARGV: name, pool, ready 0/1, ttl_ms, info (JSON)
local name, pool, ready, ttl = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local pool_key = P .. 'workers:' .. pool
redis.call('ZREMRANGEBYSCORE', pool_key, 0, now)
if ready == '1' then redis.call('ZADD', pool_key, now + ttl, name) else redis.call('ZREM', pool_key, name) end
redis.call('HSET', P .. 'worker:' .. name, 'name', name, 'pool', pool, 'ready', ready, 'seen_ms', now, 'info', ARGV[5])
redis.call('PEXPIRE', P .. 'worker:' .. name, 60000)
redis.call('ZADD', P .. 'workers', now + 60000, name)
redis.call('ZREMRANGEBYSCORE', P .. 'workers', 0, now)
return 'ok'
