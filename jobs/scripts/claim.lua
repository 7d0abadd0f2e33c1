-- Take the best pending job of a pool and open its lease, in one step.
-- Owners with the fewest running jobs come first, then who waited longest to be served; within an owner priority, then age.
-- The gpu pool takes `gpu` and `auto`; the cpu pool takes `cpu`, then `auto` jobs that waited gpu_wait_s, or at once while no
-- healthy gpu worker beats. A job whose checkpoint lies on another run volume is passed over.
-- ARGV: pool, worker, device, lease_ms, volume
-- Returns: {} | {id, attempt, fence}
local pool, worker, device, lease_ms, volume = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
local LOOK = 32

local health = redis.call('HGET', P .. 'device:' .. device, 'health')
if health and health ~= 'healthy' then return {} end

promote()

local gpu_beats = ready_gpus() > 0

local function fits(id, from)
  if from == 'auto' and pool == 'cpu' and gpu_beats then
    if now - num(id, 'queued_ms') < num(id, 'gpu_wait_ms') then return false end
  end
  local checkpoint = get(id, 'checkpoint')
  return not checkpoint or cjson.decode(checkpoint).volume == volume
end

local function first_of(owner, sources)
  local best, best_place, best_from
  for _, from in ipairs(sources) do
    local found = redis.call('ZRANGE', P .. 'pending:' .. from .. ':' .. owner, 0, LOOK - 1, 'WITHSCORES')
    for i = 1, #found, 2 do
      local place = tonumber(found[i + 1])
      if best and place >= best_place then break end
      if fits(found[i], from) then best, best_place, best_from = found[i], place, from; break end
    end
  end
  return best, best_from
end

local function fairest(sources)
  local rank = {}
  for _, from in ipairs(sources) do
    local owners = redis.call('ZRANGE', P .. 'owners:' .. from, 0, -1, 'WITHSCORES')
    for i = 1, #owners, 2 do
      local running = redis.call('SCARD', P .. 'running:' .. owners[i])
      rank[owners[i]] = {owner = owners[i], running = running, served = tonumber(owners[i + 1])}
    end
  end
  local order = {}
  for _, entry in pairs(rank) do order[#order + 1] = entry end
  table.sort(order, function(a, b)
    if a.running ~= b.running then return a.running < b.running end
    if a.served ~= b.served then return a.served < b.served end
    return a.owner < b.owner
  end)
  for _, entry in ipairs(order) do
    local id, from = first_of(entry.owner, sources)
    if id then return id, from end
  end
end

local id, from
if pool == 'gpu' then id, from = fairest({'gpu', 'auto'})
else
  id, from = fairest({'cpu'})
  if not id then id, from = fairest({'auto'}) end
end
if not id then return {} end

local owner = get(id, 'owner')
shelve(id)
if redis.call('ZSCORE', P .. 'owners:' .. from, owner) then redis.call('ZADD', P .. 'owners:' .. from, now, owner) end
local fence = redis.call('HINCRBY', job_key(id), 'fence', 1)
local attempt = {number = redis.call('LLEN', job_key(id) .. ':attempts') + 1, pool = pool, worker = worker, device = device, fence = fence, started_ms = now}
local checkpoint = get(id, 'checkpoint')
if checkpoint then attempt.resumed_at = cjson.decode(checkpoint).step end
redis.call('RPUSH', job_key(id) .. ':attempts', cjson.encode(attempt))
move(id, 'running')
set(id, 'phase', 'loading', 'reported', 0)
redis.call('HSETNX', job_key(id), 'started_ms', now)
redis.call('SADD', P .. 'running:' .. owner, id)
redis.call('SADD', P .. 'busy:' .. pool, id)
redis.call('ZADD', P .. 'leases', now + lease_ms, id)
emit(id, 'claimed', cjson.encode(attempt))
return {id, attempt.number, fence}
