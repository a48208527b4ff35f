-- Set a session's deadline to the one in its state; remove it if the session has none or does not exist.
--
-- KEYS  1 deadlines  2 session   ARGV  1 session id

local due = redis.call('HGET', KEYS[2], 'due')
if due and due ~= '' then
  redis.call('ZADD', KEYS[1], due, ARGV[1])
else
  redis.call('ZREM', KEYS[1], ARGV[1])
end
