-- Add a session to the sets of its partition again: to the deadlines by its hash, and to the unfinished sessions.
--
-- KEYS  1 deadlines  2 unfinished sessions  3 session   ARGV  1 session name  2 ms at which the session was created

local FINAL = {expired = true, completed = true, cancelled = true}

local found = redis.call('HMGET', KEYS[3], 'status', 'deleted', 'due')
if found[3] and found[3] ~= '' then redis.call('ZADD', KEYS[1], 'NX', found[3], ARGV[1]) end
redis.call('HDEL', KEYS[3], 'indexed') -- the next commit puts the participants into their index again
if found[1] and not FINAL[found[1]] and found[2] ~= '1' then redis.call('ZADD', KEYS[2], ARGV[2], ARGV[1]) end
