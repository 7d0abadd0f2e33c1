-- Publish a checkpoint: from now on the job resumes there. A newer one renews the crash budget.
-- As 'audited' it is where the job goes back to if its device is found to compute wrongly.
-- ARGV: id, fence, checkpoint (JSON with step), 'audited' or nothing
-- Returns: 'ok' | 'stale'
local id, fence = ARGV[1], ARGV[2]
if not live(id, fence) then return 'stale' end
if ARGV[4] == 'audited' then
  set(id, 'audited', ARGV[3])
  return 'ok'
end
local old = get(id, 'checkpoint')
local step = cjson.decode(ARGV[3]).step
if old and cjson.decode(old).step > step then return 'ok' end
if not old or cjson.decode(old).step < step then set(id, 'crashes', 0, 'losses', 0) end
set(id, 'checkpoint', ARGV[3])
return 'ok'
