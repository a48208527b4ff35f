-- Look at somebody's recent sessions: a page of their set, and whatever lists tell of these and of other sessions.
--
-- KEYS  1 set, or any of the others  2… two for each session asked for: digest, session
-- ARGV  1 participant id  2 how many of the set (0: none)  3 the newest score of interest
--       4 what the digests, and 5 what the sessions of the set's partition begin with: KEYS of that partition alone
-- Returns {time, since when the set is whole (nil: nobody knows), ms that the set stays, {id, score, …}, rows}; a row is
-- {what stands still, part}, or {of, facts, metadata, part, epoch, version, deleted, due, state, audited} where a clock
-- or a break goes on, or Redis has another version live; the state is there where it does or has.

local page, whole, left = {}, false, 0
local keys = {}
if ARGV[2] ~= '0' then
  whole = redis.call('ZSCORE', KEYS[1], '!whole')
  if whole then
    left = redis.call('PTTL', KEYS[1])
    page = redis.call('ZREVRANGEBYSCORE', KEYS[1], ARGV[3], 0, 'WITHSCORES', 'LIMIT', 0, ARGV[2])
    for at = 1, #page, 2 do
      keys[#keys + 1] = ARGV[4] .. page[at]
      keys[#keys + 1] = ARGV[5] .. page[at]
    end
  end
end
for at = 2, #KEYS do keys[#keys + 1] = KEYS[at] end

local rows, part = {}, 'p:' .. ARGV[1]
for at = 1, #keys, 2 do
  local digest = redis.call('HMGET', keys[at], 'of', 'still', part)
  local live = redis.call('HMGET', keys[at + 1], 'epoch', 'version')
  local of = live[1] and live[1] .. ' ' .. live[2]
  if digest[2] and digest[2] ~= '' and digest[3] and (not of or of == digest[1]) then
    rows[#rows + 1] = {digest[2], digest[3]}
  else
    local told = redis.call('HMGET', keys[at], 'facts', 'metadata')
    local more = redis.call('HMGET', keys[at + 1], 'deleted', 'due', 'audited', 'status')
    local state = ''
    if of and (more[4] == 'running' or of ~= digest[1]) then state = redis.call('HGET', keys[at + 1], 'state') end
    rows[#rows + 1] = {
      digest[1], told[1], told[2], digest[3], live[1], live[2], more[1], more[2], state, more[3]
    }
  end
end
return {redis.call('TIME'), whole, left, page, rows}
