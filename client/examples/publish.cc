// Publishes its arguments as messages and says where each one went:
//
//   example_publish orders '{"id": 1}' '{"id": 2}'

#include <cstdio>
#include <string>
#include <vector>

#include "client/blocking_client.h"

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: %s TOPIC MESSAGE...\n", argv[0]);
    return 2;
  }
  std::vector<waybill::Message> messages;
  for (int i = 2; i < argc; ++i) {
    waybill::Message message;
    message.value = waybill::to_vector(waybill::as_bytes(argv[i]));
    messages.push_back(std::move(message));
  }

  waybill::BlockingClient client;
  bool all_durable = true;
  for (const auto& receipt : client.publish_all(argv[1], std::move(messages))) {
    if (receipt) {
      std::printf("partition %u offset %lld\n", receipt->partition.value,
                  static_cast<long long>(receipt->offset.value));
    } else {
      std::fprintf(stderr, "%s\n", to_string(receipt.error()).c_str());
      all_durable = false;
    }
  }
  return all_durable ? 0 : 1;
}
