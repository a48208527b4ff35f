-- A library: `write` executes a command on a key with derived data. If the key has data that the command cannot use,
-- the key is removed first, and its name is added to `dropped`. So invalid data never interrupts a script between two
-- writes. Redis would not undo the first write.
-- A stream that has no more ids is removed only if it is empty, because its entries can be the only copy of versions.
-- If it has entries, `write` returns the error as a table, so that the script can undo its writes.

local dropped = {}

-- The rare part of `write`: the reply is an error.
local function replace_invalid(reply, command, key, ...)
  local has_no_ids = string.find(reply.err, 'exhausted the last', 1, true)
  if has_no_ids and redis.call('XLEN', key) > 0 then return reply end
  for _, words in ipairs({'WRONGTYPE', 'not an integer', 'would overflow', 'exhausted the last'}) do
    if string.find(reply.err, words, 1, true) then
      redis.call('DEL', key)
      dropped[#dropped + 1] = key
      break
    end
  end
  return redis.call(command, key, ...)
end

local call_protected, type = redis.pcall, type

local function write(...)
  local reply = call_protected(...)
  if type(reply) == 'table' and reply.err then return replace_invalid(reply, ...) end
  return reply
end
