-- Commit steps first..last (inclusive) of an attempt to the ledger: the next ones in order, or nothing.
-- Neighbouring windows of the same attempt, device and reason become one run.
-- ARGV: id, fence, attempt, first, last, device, reason or '', digest or ''
-- A digest (fingerprint:state) is compared with the one that an earlier attempt left there, if since the state that both
-- went on from every step was computed on this device.
-- Returns: 'ok' | 'stale' | 'gap' | 'differs'
local id, fence, attempt, first, last = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
if not live(id, fence) then return 'stale' end
local nxt = num(id, 'next_step')
if last < nxt then return 'ok' end
if first ~= nxt then return 'gap' end
local list = job_key(id) .. ':ledger'
local run = {attempt = attempt, first = first, last = last, device = ARGV[6]}
if ARGV[7] ~= '' then run.reason = ARGV[7] end
if ARGV[8] ~= '' then run.digest = ARGV[8] end
local function differs()
  local resumed, before = num(id, 'resumed_step'), nil
  for _, text in ipairs(redis.call('LRANGE', list, 0, -1)) do
    local row = cjson.decode(text)
    if row.last >= resumed and row.first <= last then
      if row.device ~= run.device or row.reason or run.reason then return false end
      if row.superseded and row.last == last and row.digest then before = row.digest end
    end
  end
  return before and before ~= run.digest and before:match('^%w+') == run.digest:match('^%w+')
end
if run.digest and differs() then return 'differs' end
local tail = redis.call('LINDEX', list, -1)
local prev = tail and cjson.decode(tail)
if prev and not prev.superseded and prev.attempt == attempt and prev.device == run.device and prev.reason == run.reason
    and not run.digest and not prev.digest and prev.last == first - 1 then
  prev.last = last
  redis.call('LSET', list, -1, cjson.encode(prev))
else
  redis.call('RPUSH', list, cjson.encode(run))
end
set(id, 'next_step', last + 1)
count('steps', run.device .. ' ' .. (run.reason and 'moved' or 'committed'), last - first + 1)
if run.reason then redis.call('HINCRBY', job_key(id), 'batches_moved', last - first + 1) end
return 'ok'
