-- Find the summaries and sets that exist.
--
-- KEYS  summaries, then sets   ARGV  1 number of summaries
-- Returns {its index from 1} for each existing key, but {its index, position, facts} for a summary that is filled.

local found = {}
for at = 1, #KEYS do
  if redis.call('EXISTS', KEYS[at]) == 1 then
    local row = {tostring(at)}
    if at <= tonumber(ARGV[1]) then
      local summary = redis.call('HMGET', KEYS[at], 'of', 'facts')
      if summary[1] then row = {tostring(at), summary[1], summary[2]} end
    end
    found[#found + 1] = row
  end
end
return found
