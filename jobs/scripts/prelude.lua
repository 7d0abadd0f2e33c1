-- Shared by every script: names, the clock, and the four moves that keep hash, indices and events in step.
-- Times are Redis milliseconds, so that no worker's clock matters.
local P = KEYS[1]
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local KEEP_MS = 7 * 24 * 3600 * 1000

local function job_key(id) return P .. 'job:' .. id end
local function get(id, field) return redis.call('HGET', job_key(id), field) end
local function num(id, field) return tonumber(get(id, field) or '0') end
local function set(id, ...) redis.call('HSET', job_key(id), ...) end

-- What a person asked to hear of goes into the outbox in the same step; jobs/outbox.py sends from there.
-- A worker that was told to stop is no fault, and of an attempt's moved batches the first is told.
local ALERTED = {succeeded = 'end', failed = 'end', cancelled = 'end', requeued = 'failover', handed_off = 'failover'}
local function alert(id, kind, seq, data)
  local alerts = ALERTED[kind] and get(id, 'alerts')
  if not alerts then return end
  if kind == 'requeued' and cjson.decode(data).fault.kind == 'stopped' then return end
  if kind == 'handed_off' then
    if get(id, 'alerted_fence') == get(id, 'fence') then return end
    set(id, 'alerted_fence', get(id, 'fence'))
  end
  local key = job_key(id) .. ':alerts'
  for n, occasions in ipairs(cjson.decode(alerts)) do
    for _, occasion in ipairs(occasions) do
      if occasion == ALERTED[kind] then
        redis.call('HSET', key, seq .. '.' .. n, cjson.encode({type = kind, at = now, data = data, tries = 0, state = 'waiting'}))
        redis.call('ZADD', P .. 'alerts', now, id .. '.' .. seq .. '.' .. n)
      end
    end
  end
  redis.call('PEXPIRE', key, KEEP_MS)
end

-- One event, numbered without gaps; the same number is the job's revision.
local function emit(id, kind, data)
  local seq = redis.call('HINCRBY', job_key(id), 'revision', 1)
  set(id, 'updated_ms', now)
  redis.call('XADD', job_key(id) .. ':events', 'MAXLEN', '~', 10000, '*', 'type', kind, 'seq', seq, 'at', now, 'data', data or '{}')
  redis.call('XADD', P .. 'events', 'MAXLEN', '~', 10000, '*', 'job', id, 'type', kind)
  alert(id, kind, seq, data or '{}')
end

local function move(id, to)
  local from = get(id, 'state')
  local created = num(id, 'created_ms')
  if from then redis.call('ZREM', P .. 'jobs:' .. from, id) end
  redis.call('ZADD', P .. 'jobs:' .. to, created, id)
  set(id, 'state', to)
end

local function shelve(id)  -- out of every place a claim could find it
  local pool, owner = get(id, 'pool'), get(id, 'owner')
  local pending = P .. 'pending:' .. pool .. ':' .. owner
  redis.call('ZREM', pending, id)
  redis.call('ZREM', P .. 'delayed', id)
  if redis.call('EXISTS', pending) == 0 then redis.call('ZREM', P .. 'owners:' .. pool, owner) end
end

local function offer(id)  -- into the pending set, at the place its first submit gave it
  local pool, owner = get(id, 'pool'), get(id, 'owner')
  redis.call('ZADD', P .. 'pending:' .. pool .. ':' .. owner, get(id, 'place'), id)
  redis.call('ZADD', P .. 'owners:' .. pool, 'NX', 0, owner)
end

local function promote()  -- jobs whose backoff is over may be found by a claim again
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', P .. 'delayed', 0, now, 'LIMIT', 0, 64)) do
    redis.call('ZREM', P .. 'delayed', id)
    offer(id)
  end
end

local function enqueue(id, pool, delay_ms)
  set(id, 'pool', pool, 'queued_ms', now)
  if get(id, 'held') == '1' then return end
  if delay_ms > 0 then redis.call('ZADD', P .. 'delayed', now + delay_ms, id) else offer(id) end
end

local function close_attempt(id, outcome, fault)
  local list = job_key(id) .. ':attempts'
  local attempt = cjson.decode(redis.call('LINDEX', list, -1))
  attempt.ended_ms = now
  attempt.outcome = outcome
  if fault and fault ~= '' then attempt.fault = cjson.decode(fault) end
  redis.call('LSET', list, -1, cjson.encode(attempt))
  redis.call('ZREM', P .. 'leases', id)
  redis.call('SREM', P .. 'running:' .. get(id, 'owner'), id)
  redis.call('SREM', P .. 'busy:' .. attempt.pool, id)
  redis.call('HDEL', job_key(id), 'phase')
end

local function finish(id, state, error)
  move(id, state)
  set(id, 'finished_ms', now)
  if error and error ~= '' then set(id, 'error', error) end
  redis.call('SREM', P .. 'active:' .. get(id, 'owner'), id)
  redis.call('SADD', P .. 'unfiled', id)
  redis.call('PEXPIRE', job_key(id) .. ':events', KEEP_MS)
  redis.call('PEXPIRE', job_key(id) .. ':ledger', KEEP_MS)
end

local function count(what, field, n) redis.call('HINCRBY', P .. 'counts:' .. what, field, n) end

local function live(id, fence)  -- may this attempt still write?
  return get(id, 'state') == 'running' and get(id, 'fence') == fence
end

local function ready_gpus()  -- workers that beat and whose device is believed healthy at this moment, whatever they said at their last beat
  local n = 0
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', P .. 'workers:gpu', now, '+inf')) do
    local info = redis.call('HGET', P .. 'worker:' .. name, 'info')
    local device = info and cjson.decode(info).device
    local health = device and redis.call('HGET', P .. 'device:' .. device, 'health')
    if not health or health == 'healthy' then n = n + 1 end
  end
  return n
end
