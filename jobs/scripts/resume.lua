-- An attempt starts at step k: rows at k and after are superseded (a run that spans k is split).
-- A checkpoint beyond k was found damaged and is forgotten. ARGV: id, fence, k
-- Returns: 'ok' | 'stale' | 'gap'
local id, fence, k = ARGV[1], ARGV[2], tonumber(ARGV[3])
if not live(id, fence) then return 'stale' end
if num(id, 'next_step') < k then return 'gap' end
local list = job_key(id) .. ':ledger'
local runs = redis.call('LRANGE', list, 0, -1)
redis.call('DEL', list)
for _, text in ipairs(runs) do
  local run = cjson.decode(text)
  if run.superseded or run.last < k then
    redis.call('RPUSH', list, text)
  else
    if run.first < k then
      local kept = cjson.decode(text)
      kept.last, kept.digest = k - 1, nil
      redis.call('RPUSH', list, cjson.encode(kept))
      run.first = k
    end
    run.superseded = true
    count('steps', run.device .. ' superseded', run.last - run.first + 1)
    redis.call('RPUSH', list, cjson.encode(run))
  end
end
set(id, 'next_step', k, 'resumed_step', k)
local checkpoint = get(id, 'checkpoint')
if checkpoint and cjson.decode(checkpoint).step > k then redis.call('HDEL', job_key(id), 'checkpoint') end
return 'ok'
