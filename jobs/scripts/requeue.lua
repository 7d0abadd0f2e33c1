-- Give a job back, from its last checkpoint; after wrong numbers from its last audited one, or its start. It keeps its place in the queue.
-- A cancel that arrived meanwhile ends it instead. Sent again after a lost reply it answers the same.
-- ARGV: id, fence, pool, delay_ms, crashed 0/1, fault (JSON)
-- Returns: 'ok' | 'stale'
local id, fence, pool, delay_ms, crashed, fault = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5], ARGV[6]
if get(id, 'requeued_fence') == fence then return 'ok' end
if not live(id, fence) then return 'stale' end
close_attempt(id, 'requeued', fault)
set(id, 'requeued_fence', fence)
if get(id, 'cancel_requested') == '1' then
  finish(id, 'cancelled')
  emit(id, 'cancelled')
  return 'ok'
end
if crashed == '1' then
  redis.call('HINCRBY', job_key(id), 'crashes', 1)
  set(id, 'fell_at', num(id, 'next_step'))  -- the first step that was not finished here: a GPU gets the job back beyond it
end
redis.call('HINCRBY', job_key(id), 'requeues', 1)
local kind = cjson.decode(fault).kind
if kind == 'wrong_result' then
  local audited = get(id, 'audited')
  if audited then set(id, 'checkpoint', audited) else redis.call('HDEL', job_key(id), 'checkpoint') end
end
if kind == 'too_large' then set(id, 'too_large', 1) end
set(id, 'last_reason', kind)
count('requeues', kind, 1)
move(id, 'queued')
enqueue(id, pool, delay_ms)
emit(id, 'requeued', cjson.encode({pool = pool, fault = cjson.decode(fault)}))
return 'ok'
