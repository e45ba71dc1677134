// The relay's OutboxPublisher over the client library.
#pragma once

#include "client/blocking_client.h"
#include "client/outbox/outbox_publisher.h"

namespace waybill {

class ClientPublisher final : public OutboxPublisher {
 public:
  /// `client` outlives it.
  explicit ClientPublisher(BlockingClient& client) : client_(client) {}

  Reply<MetadataReply> metadata() override { return client_.request(MetadataRequest{}); }
  Reply<OpenProducerReply> open_producer(const OpenProducerRequest& request) override {
    return client_.request(request);
  }
  Reply<PublishReply> publish(const PublishRequest& request) override {
    return client_.request(request);
  }

 private:
  BlockingClient& client_;
};

}  // namespace waybill
