-- Load a session's fields. Leave out the document if the caller holds this document already.
--
-- KEYS  1 session
-- ARGV  1 tag and 2 version of the document that the caller holds  3… fields
-- Returns the fields' values, nil for a document that the caller holds.

local found = redis.call('HMGET', KEYS[1], 'tag', 'version')
local is_held = found[1] == ARGV[1] and found[2] == ARGV[2]
local names = {}
for at = 3, #ARGV do
  names[at - 2] = (is_held and ARGV[at] == 'state') and '' or ARGV[at]
end
return redis.call('HMGET', KEYS[1], unpack(names))
