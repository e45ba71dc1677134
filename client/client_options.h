// How a client reaches its broker and how much it may hold.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "protocol/base/ids.h"
#include "protocol/model/group_policy.h"
#include "protocol/record/compression.h"

namespace waybill {

struct ClientOptions {
  /// "host:port", tried in order.
  std::vector<std::string> endpoints{"127.0.0.1:7450"};
  /// Who asks, where the broker has users, and the secret that proves it: it crosses the network in
  /// clear text. A refusal is kUnauthenticated, for everything the client was asked to do.
  std::string user;
  std::string token;
  /// For the broker's logs and `group describe`.
  std::string client_name = "waybill-cpp";
  /// This run of the process (D10). Nil: a random one. A consumer that wants the leases it held
  /// back after its own restart states the same id again (D5).
  InstanceId instance;
  /// Rises with each run under the same `instance`. 0: the milliseconds of the wall clock.
  std::uint64_t instance_start = 0;

  /// One attempt to connect and say hello, to one endpoint.
  std::chrono::milliseconds connect_timeout{5'000};
  /// One request, waiting for a connection included.
  std::chrono::milliseconds request_timeout{30'000};
  /// One message from publish() to its receipt, over all resends.
  std::chrono::milliseconds publish_timeout{120'000};
  /// A connection on which nothing came for so long is asked (ping); silent for as long again, it
  /// is given up.
  std::chrono::milliseconds keepalive{10'000};
  /// Between rounds over the endpoints, after a connection was lost or refused.
  Backoff reconnect{BackoffKind::kExponential, std::chrono::milliseconds(100), 2.0,
                    std::chrono::milliseconds(10'000), Jitter::kFull};
  /// False: until the broker was reached once, operations fail after the first round over the
  /// endpoints, because a wrong address is the usual cause. True: they wait up to their timeout
  /// (for services that start before their broker).
  bool wait_for_broker = false;

  /// True: only one thread runs the executor's context, so that what runs there is in turn anyway
  /// and the client makes no strand of its own, which takes CPU with each message. With more
  /// threads that is a data race. BlockingClient, which has a thread of its own, sets it.
  bool single_threaded = false;

  /// Messages accepted by publish() and not confirmed yet. More wait for their turn: that delay is
  /// the back-pressure.
  std::size_t max_buffered_bytes = 64 * 1024 * 1024;
  /// Calls of publish() that may wait for room; beyond, they complete with kOverloaded at once, so
  /// that a caller who never waits for receipts cannot fill the memory.
  std::size_t max_waiting_publishes = 100'000;
  /// A batch is closed at this size: larger ones spread the broker's work over more messages,
  /// smaller ones let other partitions in between. At most limits::kMaxBatch.
  std::size_t max_batch_bytes = 1024 * 1024;
  /// Of what publish() sends, a batch at a time, where that makes it smaller: fewer bytes to
  /// journal, to store and to send, for the time it takes here and wherever a record is looked into
  /// (broker: once when it arrives, and for keys and single records; consumers: once each).
  Codec compression = Codec::kNone;
};

}  // namespace waybill
