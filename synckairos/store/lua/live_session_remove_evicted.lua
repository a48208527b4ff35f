-- Remove an evicted session from the set of live sessions, unless Redis has the session again.
--
-- Most commits do not add their session to the set. So a restored session must stay in the set.
--
-- KEYS  1 live sessions  2 session   ARGV  1 session name
-- Returns 1 if the session was removed, else 0.

if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
return redis.call('ZREM', KEYS[1], ARGV[1])
