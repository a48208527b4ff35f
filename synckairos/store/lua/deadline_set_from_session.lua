-- Set the deadline of a session to the deadline in its hash. Remove the deadline if the hash has none or is missing.
--
-- KEYS  1 deadlines  2 session   ARGV  1 session name

local due = redis.call('HGET', KEYS[2], 'due')
if due and due ~= '' then
  redis.call('ZADD', KEYS[1], due, ARGV[1])
else
  redis.call('ZREM', KEYS[1], ARGV[1])
end
