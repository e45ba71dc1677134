#include "client/client.h"

#include "client/client_core.h"

namespace waybill {

Client::Client(const asio::any_io_executor& executor, ClientOptions options,
               std::shared_ptr<void> keep_alive)
    : core_(std::make_shared<ClientCore>(executor, std::move(options), std::move(keep_alive))) {}

Client::Client(Client&&) noexcept = default;

Client& Client::operator=(Client&& other) noexcept {
  std::swap(core_, other.core_);
  return *this;
}

Client::~Client() {
  if (core_ == nullptr || core_->closed()) return;
  core_->post([core = core_] { core->close_now(); });
  core_->mark_closed();
}

asio::any_io_executor Client::get_executor() const {
  return core_->executor();
}

InstanceId Client::instance() const {
  return core_->options().instance;
}

void Client::start_connect(Completion<HelloReply> completion) {
  if (core_->closed()) return completion(ClientCore::closed_error());
  core_->post([core = core_, completion = std::move(completion)]() mutable {
    core->connect(std::move(completion));
  });
}

template <class Request>
void Client::start_request(Request request, Completion<ReplyOf<Request>> completion) {
  if (core_->closed()) return completion(ClientCore::closed_error());
  core_->post(
      [core = core_, request = std::move(request), completion = std::move(completion)]() mutable {
        core->request(std::move(request), std::move(completion));
      });
}

// The requests that applications may send; the others belong to the connection and subscriptions.
#define WB_CLIENT_REQUEST(Request) \
  template void Client::start_request(Request, Completion<ReplyOf<Request>>);
WB_CLIENT_REQUEST(MetadataRequest)
WB_CLIENT_REQUEST(CreateTopicRequest)
WB_CLIENT_REQUEST(DescribeTopicRequest)
WB_CLIENT_REQUEST(DeleteTopicRequest)
WB_CLIENT_REQUEST(AlterTopicRequest)
WB_CLIENT_REQUEST(PublishRequest)
WB_CLIENT_REQUEST(OpenProducerRequest)
WB_CLIENT_REQUEST(ListProducersRequest)
WB_CLIENT_REQUEST(RemoveProducerRequest)
WB_CLIENT_REQUEST(ReadRequest)
WB_CLIENT_REQUEST(CreateGroupRequest)
WB_CLIENT_REQUEST(AlterGroupRequest)
WB_CLIENT_REQUEST(DeleteGroupRequest)
WB_CLIENT_REQUEST(DescribeGroupRequest)
WB_CLIENT_REQUEST(PauseGroupRequest)
WB_CLIENT_REQUEST(SetBrakeRequest)
WB_CLIENT_REQUEST(ResetGroupRequest)
WB_CLIENT_REQUEST(CheckGroupRequest)
WB_CLIENT_REQUEST(ListDeadLettersRequest)
WB_CLIENT_REQUEST(ShowDeadLetterRequest)
WB_CLIENT_REQUEST(EditDeadLetterRequest)
WB_CLIENT_REQUEST(RedriveRequest)
WB_CLIENT_REQUEST(DiscardRequest)
WB_CLIENT_REQUEST(PingRequest)
#undef WB_CLIENT_REQUEST

void Client::start_publish(PublishTarget target, Message message,
                           Completion<PublishReceipt> completion) {
  if (core_->closed()) return completion(ClientCore::closed_error());
  core_->publish({std::move(target), std::move(message), std::move(completion)});
}

void Client::start_publish_all(PublishTarget target, std::vector<Message> messages,
                               Completion<PublishReceipts> completion) {
  if (core_->closed()) return completion(ClientCore::closed_error());
  if (messages.empty()) return completion(PublishReceipts{});
  core_->publish({std::move(target), std::move(messages), std::move(completion)});
}

void Client::start_find_topic(std::string name, Completion<TopicInfo> completion) {
  if (core_->closed()) return completion(ClientCore::closed_error());
  core_->post([core = core_, name = std::move(name), completion = std::move(completion)]() mutable {
    core->find_topic(name, std::move(completion));
  });
}

void Client::start_subscribe(std::string group, SubscribeOptions options,
                             Completion<Subscription> completion) {
  if (core_->closed()) return completion(ClientCore::closed_error());
  core_->post([core = core_, group = std::move(group), options,
               completion = std::move(completion)]() mutable {
    core->subscribe(std::move(group), options, std::move(completion));
  });
}

void Client::start_close(Completion<void> completion) {
  if (core_->closed()) return completion(Reply<void>());
  core_->post([core = core_, completion = std::move(completion)]() mutable {
    core->close(std::move(completion));
  });
}

}  // namespace waybill
