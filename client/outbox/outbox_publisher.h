// What a relay needs of the broker: three questions, each waiting for its answer. Implemented over
// the client library (client_publisher.h) and by a broker in memory in the tests.
#pragma once

#include "protocol/model/requests.h"

namespace waybill {

class OutboxPublisher {
 public:
  virtual ~OutboxPublisher() = default;
  /// The catalog as it is now.
  virtual Reply<MetadataReply> metadata() = 0;
  /// Registers the lane's producer under its epoch; lower epochs are fenced when this answers
  /// (D21), so nothing sent under them can arrive any more.
  virtual Reply<OpenProducerReply> open_producer(const OpenProducerRequest& request) = 0;
  /// Sends once, exactly these bytes; repeating is the relay's business.
  virtual Reply<PublishReply> publish(const PublishRequest& request) = 0;
};

}  // namespace waybill
