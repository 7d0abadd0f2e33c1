-- Deliveries of alerts. ARGV: move, then by move:
--   take: lease_ms, most                       -> {delivery, what was kept of it (JSON), ...}; they come again after the lease
--   settle: delivery, state, note, again_ms    -> 'ok'; state 'waiting' tries it again after again_ms
-- A delivery is named job.seq.n: event number seq, to the job's n-th alert.
local function parts(name) return name:match('^([^.]+)%.(.+)$') end

local function kept(name)
  local id, field = parts(name)
  return redis.call('HGET', job_key(id) .. ':alerts', field)
end

local function keep(name, row)
  local id, field = parts(name)
  redis.call('HSET', job_key(id) .. ':alerts', field, cjson.encode(row))
  redis.call('PEXPIRE', job_key(id) .. ':alerts', KEEP_MS)
end

if ARGV[1] == 'take' then
  local taken = {}
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', P .. 'alerts', 0, now, 'LIMIT', 0, tonumber(ARGV[3]))) do
    local text = kept(name)
    if text then
      local row = cjson.decode(text)
      row.tries = row.tries + 1
      keep(name, row)
      redis.call('ZADD', P .. 'alerts', now + tonumber(ARGV[2]), name)
      taken[#taken + 1] = name
      taken[#taken + 1] = cjson.encode(row)
    else
      redis.call('ZREM', P .. 'alerts', name)  -- the job was deleted
    end
  end
  return taken
end

local name, state = ARGV[2], ARGV[3]
local text = kept(name)
if text then
  local row = cjson.decode(text)
  row.state, row.note, row.told = state, ARGV[4], now
  keep(name, row)
end
if text and state == 'waiting' then redis.call('ZADD', P .. 'alerts', 'XX', now + tonumber(ARGV[5]), name)
else redis.call('ZREM', P .. 'alerts', name) end
if state ~= 'waiting' then count('alerts', state, 1) end
return 'ok'
