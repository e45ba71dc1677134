// Which reply answers which request. A request that is not listed here cannot be sent with
// Client::async_request.
#pragma once

#include "protocol/model/requests.h"

namespace waybill {

template <class Request>
struct ReplyToRequest;

/// Every request with an answer that applications may send themselves. `repeatable` requests do the
/// same when they are done twice: the client sends them again after a lost connection.
#define WB_CLIENT_REQUESTS(X)                           \
  X(MetadataRequest, MetadataReply, true)               \
  X(CreateTopicRequest, CreateTopicReply, true)         \
  X(DescribeTopicRequest, DescribeTopicReply, true)     \
  X(DeleteTopicRequest, DeleteTopicReply, false)        \
  X(PublishRequest, PublishReply, false)                \
  X(OpenProducerRequest, OpenProducerReply, true)       \
  X(ReadRequest, ReadReply, true)                       \
  X(CreateGroupRequest, CreateGroupReply, true)         \
  X(AlterGroupRequest, AlterGroupReply, true)           \
  X(DeleteGroupRequest, DeleteGroupReply, false)        \
  X(DescribeGroupRequest, DescribeGroupReply, true)     \
  X(ListDeadLettersRequest, ListDeadLettersReply, true) \
  X(ShowDeadLetterRequest, ShowDeadLetterReply, true)   \
  X(EditDeadLetterRequest, EditDeadLetterReply, false)  \
  X(RedriveRequest, RedriveReply, false)                \
  X(DiscardRequest, DiscardReply, false)

#define WB_REPLY_TO(Request, ReplyStruct, is_repeatable) \
  template <>                                            \
  struct ReplyToRequest<Request> {                       \
    using type = ReplyStruct;                            \
    static constexpr bool kRepeatable = is_repeatable;   \
  };
WB_CLIENT_REQUESTS(WB_REPLY_TO)
#undef WB_REPLY_TO

template <class Request>
using ReplyTo = typename ReplyToRequest<Request>::type;

}  // namespace waybill
