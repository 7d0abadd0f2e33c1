-- What an attempt has to tell, in its own order; sent again after a lost reply it changes nothing.
-- ARGV: id, fence, first (number of the first message), then triples: type, data (JSON), fields (JSON object of hash fields)
-- Returns: 'ok' | 'stale'
local id, fence, first = ARGV[1], ARGV[2], tonumber(ARGV[3])
if not live(id, fence) then return 'stale' end
local reported = num(id, 'reported')
local number = first
for i = 4, #ARGV, 3 do
  if number > reported then
    for field, value in pairs(cjson.decode(ARGV[i + 2])) do set(id, field, type(value) == 'table' and cjson.encode(value) or value) end
    emit(id, ARGV[i], ARGV[i + 1])
    reported = number
  end
  number = number + 1
end
set(id, 'reported', reported)
return 'ok'
