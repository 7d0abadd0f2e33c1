-- Keep a lease. ARGV: id, fence, lease_ms
-- Returns: {'stale'} | {'ok', cancel 0/1, pause 0/1}
local id, fence = ARGV[1], ARGV[2]
if not live(id, fence) then return {'stale', '0', '0'} end
redis.call('ZADD', P .. 'leases', 'XX', now + tonumber(ARGV[3]), id)
return {'ok', get(id, 'cancel_requested') or '0', get(id, 'held') or '0'}
