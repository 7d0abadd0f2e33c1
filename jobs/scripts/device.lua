-- Write a device's health if nobody else has since it was read. ARGV: device, version read, health, record (JSON), tests (JSON or '')
-- Returns: 'ok' | 'changed'
local key = P .. 'device:' .. ARGV[1]
local version = redis.call('HGET', key, 'version') or '0'
if version ~= ARGV[2] then return 'changed' end
redis.call('HSET', key, 'version', tonumber(version) + 1, 'health', ARGV[3], 'record', ARGV[4])
if ARGV[5] ~= '' then redis.call('HSET', key, 'tests', ARGV[5], 'tested_ms', now) end
redis.call('SADD', P .. 'devices', ARGV[1])
return 'ok'
