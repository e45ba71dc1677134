// Prints the messages of a topic as a consumer group of its own, until it is stopped or nothing
// came for ten seconds. Empty messages fail, so that there is something to see in the dead letters:
//
//   example_consume orders printer

#include <cstdio>
#include <string>

#include "client/blocking_client.h"

using namespace std::chrono_literals;

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: %s TOPIC GROUP\n", argv[0]);
    return 2;
  }
  waybill::BlockingClient client;
  waybill::CreateGroupRequest group;
  group.topic = argv[1];
  group.name = argv[2];
  group.policy.ordering = waybill::Ordering::kNone;
  group.start.kind = waybill::StartKind::kEarliest;
  if (auto ensured = client.ensure_group(group); !ensured) {
    std::fprintf(stderr, "%s\n", to_string(ensured.error()).c_str());
    return 1;
  }

  auto handle = [](waybill::Delivery& delivery) {
    const auto& value = delivery.message().value;
    if (value && !value->empty()) {
      std::printf("%s\n", std::string(waybill::as_text(*value)).c_str());
      delivery.ack();
    } else {
      delivery.retry({waybill::FailureClass::kFailed, "empty", "a message without a value"});
    }
    return waybill::Continue::kYes;
  };
  auto ended = client.consume(argv[2], handle, {.subscribe = {}, .idle_timeout = 10s});
  if (!ended) std::fprintf(stderr, "%s\n", to_string(ended.error()).c_str());
  return ended ? 0 : 1;
}
