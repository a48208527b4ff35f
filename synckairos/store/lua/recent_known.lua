-- Which of these digests and sets are here?
--
-- KEYS  digests, then sets   ARGV  1 how many are digests
-- Returns for each that is {its place from 1}, for a digest that nobody is filling {its place, of, facts}

local found = {}
for at = 1, #KEYS do
  if redis.call('EXISTS', KEYS[at]) == 1 then
    local row = {tostring(at)}
    if at <= tonumber(ARGV[1]) then
      local digest = redis.call('HMGET', KEYS[at], 'of', 'facts')
      if digest[1] then row = {tostring(at), digest[1], digest[2]} end
    end
    found[#found + 1] = row
  end
end
return found
