-- Count one request in a fixed window.
--
-- KEYS  1 window   ARGV  1 length of the window in ms
-- Returns {requests in the window so far, ms until it ends}

local count = redis.call('INCR', KEYS[1])
if count == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return {count, redis.call('PTTL', KEYS[1])}
