-- Keep a lease, and hear what to do. ARGV: id, fence, lease_ms, stay_ms
-- A job that trains on the CPU and may use a GPU moves up once it has stayed for stay_ms, is past the step at which a GPU let
-- it fall, a healthy GPU worker is idle and no other job waits for it. One whose batch never fitted a GPU stays.
-- Returns: {'stale'} | {'ok', order or ''}; the order is cancel, pause or move_up
local id, fence, lease_ms, stay_ms = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
if not live(id, fence) then return {'stale'} end
redis.call('ZADD', P .. 'leases', 'XX', now + lease_ms, id)
if get(id, 'cancel_requested') == '1' then return {'ok', 'cancel'} end
if get(id, 'held') == '1' then return {'ok', 'pause'} end

local function waits(pool) return redis.call('EXISTS', P .. 'owners:' .. pool) == 1 end

local checkpoint = get(id, 'checkpoint')
if get(id, 'placement') == 'cpu' or not checkpoint or redis.call('SISMEMBER', P .. 'busy:cpu', id) == 0 then return {'ok', ''} end
if get(id, 'too_large') then return {'ok', ''} end
if get(id, 'phase') ~= 'training' or cjson.decode(checkpoint).step <= num(id, 'fell_at') then return {'ok', ''} end
local attempt = cjson.decode(redis.call('LINDEX', job_key(id) .. ':attempts', -1))
local gpu_is_idle = ready_gpus() > redis.call('SCARD', P .. 'busy:gpu')
local may = now - attempt.started_ms >= stay_ms and gpu_is_idle and not waits('gpu') and not waits('auto')
return {'ok', may and 'move_up' or ''}
