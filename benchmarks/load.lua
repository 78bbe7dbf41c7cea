-- Sends the requests of a file in turn, each once: lines of webhook id, timestamp, signature, body,
-- before them a path if it is not that of the URL.
-- wrk … -s load.lua URL -- FILE [MILLISECONDS between the requests of one connection]
local requests, at, pause = {}, 0, nil

function init(args)
  for line in io.lines(args[1]) do
    local path, rest = line:match("^(/[^\t]*)\t(.*)")
    local id, timestamp, signature, body = (rest or line):match("([^\t]*)\t([^\t]*)\t([^\t]*)\t(.*)")
    requests[#requests + 1] = wrk.format("POST", path, {
      ["Content-Type"] = "application/json", ["webhook-id"] = id,
      ["webhook-timestamp"] = timestamp, ["webhook-signature"] = signature,
    }, body)
  end
  pause = tonumber(args[2])
  if pause then
    delay = function() return pause end
  end
end

function request()
  at = at + 1
  if at > #requests then
    wrk.thread:stop()
    return requests[#requests]
  end
  return requests[at]
end

function done(summary, latency)
  io.write(string.format(
    '\nJSON{"requests": %d, "micros": %d, "not_2xx": %d, "socket_errors": %d, "p50": %d, "p95": %d, "p99": %d, "max": %d}\n',
    summary.requests, summary.duration, summary.errors.status,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout,
    latency:percentile(50), latency:percentile(95), latency:percentile(99), latency.max))
end
