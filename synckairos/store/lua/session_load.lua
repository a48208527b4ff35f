-- Return the fields of a session. Omit the document if the caller already has the same document.
--
-- KEYS  1 session
-- ARGV  1 tag and 2 version of the document that the caller has  3… names of fields
-- Returns the values of the fields, nil for a document that the caller has.

local found = redis.call('HMGET', KEYS[1], 'tag', 'version')
local is_held = found[1] == ARGV[1] and found[2] == ARGV[2]
local names = {}
for at = 3, #ARGV do
  names[at - 2] = (is_held and ARGV[at] == 'state') and '' or ARGV[at]
end
return redis.call('HMGET', KEYS[1], unpack(names))
