#include <algorithm>
#include <string>

#include "broker/core/ask_shards.h"
#include "broker/core/consumer.h"
#include "broker/core/gateway.h"
#include "broker/core/reply_bounds.h"
#include "broker/core/shard.h"

namespace waybill {
namespace {

/// Credit beyond this is not given by a client that counts right.
constexpr std::int64_t kMaxCreditMessages = 10'000'000;
constexpr std::int64_t kMaxCreditBytes = std::int64_t{64} << 30;

/// The items of a request by the shard that owns them, with their place in the request.
template <class Item>
using ByShard = std::map<ShardIndex, std::vector<std::pair<std::size_t, Item>>>;

template <class Item>
std::vector<ShardIndex> shards_of(const ByShard<Item>& items) {
  std::vector<ShardIndex> shards;
  for (const auto& [shard, list] : items) shards.push_back(shard);
  return shards;
}

const PartitionPlace* place_of(const TopicInfo* topic, PartitionIndex index) {
  if (topic == nullptr || index.value >= topic->partitions.size()) return nullptr;
  return &topic->partitions[index.value];
}

RequestError no_partition() {
  return {Errc::kUnknownPartition, "the topic has no such partition"};
}

}  // namespace

ClientSession::ClientSession(Gateway& gateway, HelloRequest hello, PushSink& sink)
    : gateway_(gateway), hello_(std::move(hello)), sink_(sink) {}

ClientSession::~ClientSession() {
  for (const auto& [number, consumer] : subscriptions_) detach(consumer, false);
}

void ClientSession::close() {
  for (const auto& [number, consumer] : subscriptions_) detach(consumer, true);
  subscriptions_.clear();
}

template <class R>
void ClientSession::answer(Done<R> done, Reply<R> reply) {
  gateway_.mailbox_.post(
      gateway_.home_.index(),
      [done = std::move(done), reply = std::move(reply)](Shard&) mutable {
        done(std::move(reply));
      },
      Mailbox::Kind::kAnswer);
}

Reply<GroupInfo> ClientSession::group_named(const std::string& name) const {
  std::shared_ptr<const Catalog> catalog = gateway_.home_.catalog();
  if (const GroupInfo* group = catalog->group(name)) return *group;
  std::vector<std::string> names;
  for (const GroupInfo& group : catalog->groups) names.push_back(group.name);
  std::string text = "there is no group \"" + name + "\"";
  auto meant = did_you_mean(name, names);
  text += meant ? "; did you mean \"" + *meant + "\"?" : ".";
  return RequestError(Errc::kUnknownGroup, text + " Groups are created explicitly");
}

Reply<TopicInfo> ClientSession::topic_named(const std::string& name) const {
  std::shared_ptr<const Catalog> catalog = gateway_.home_.catalog();
  if (const TopicInfo* topic = catalog->topic(name)) return *topic;
  std::vector<std::string> names;
  for (const TopicInfo& topic : catalog->topics) {
    if (!topic.archived) names.push_back(topic.name);
  }
  std::string text = "there is no topic \"" + name + "\"";
  if (auto meant = did_you_mean(name, names)) text += "; did you mean \"" + *meant + "\"?";
  return RequestError(Errc::kUnknownTopic, text);
}

// --- catalog ---

void ClientSession::handle(MetadataRequest request, Done<MetadataReply> done) {
  MetadataReply reply;
  std::shared_ptr<const Catalog> catalog = gateway_.home_.catalog();
  reply.catalog.version = catalog->version;
  const bool all = request.topics.empty();
  for (const TopicInfo& topic : catalog->topics) {
    if (topic.archived) continue;
    if (all || std::ranges::find(request.topics, topic.name) != request.topics.end()) {
      reply.catalog.topics.push_back(topic);
    }
  }
  for (const GroupInfo& group : catalog->groups) {
    if (all || reply.catalog.topic(group.topic) != nullptr) reply.catalog.groups.push_back(group);
  }
  answer<MetadataReply>(std::move(done), std::move(reply));
}

template <class Request, class R>
void ClientSession::owner_request(Request request, Done<R> done,
                                  void (CatalogOwner::*call)(Request, Done<R>)) {
  auto shared = std::make_shared<Done<R>>(std::move(done));
  ask_shards<Reply<R>>(
      gateway_.mailbox_, gateway_.home_.index(), {ShardIndex{0}},
      [request, call](Shard& shard, auto reply) {
        (shard.catalog_owner().*call)(request, std::move(reply));
      },
      [shared](std::vector<std::optional<Reply<R>>> replies) {
        if (!replies.front()) return (*shared)(shard_busy());
        (*shared)(std::move(*replies.front()));
      });
}

void ClientSession::handle(CreateTopicRequest request, Done<CreateTopicReply> done) {
  owner_request(std::move(request), std::move(done), &CatalogOwner::create_topic);
}
void ClientSession::handle(DeleteTopicRequest request, Done<DeleteTopicReply> done) {
  owner_request(std::move(request), std::move(done), &CatalogOwner::delete_topic);
}
void ClientSession::handle(AlterTopicRequest request, Done<AlterTopicReply> done) {
  owner_request(std::move(request), std::move(done), &CatalogOwner::alter_topic);
}
void ClientSession::handle(CreateGroupRequest request, Done<CreateGroupReply> done) {
  owner_request(std::move(request), std::move(done), &CatalogOwner::create_group);
}
void ClientSession::handle(AlterGroupRequest request, Done<AlterGroupReply> done) {
  owner_request(std::move(request), std::move(done), &CatalogOwner::alter_group);
}
void ClientSession::handle(DeleteGroupRequest request, Done<DeleteGroupReply> done) {
  owner_request(std::move(request), std::move(done), &CatalogOwner::delete_group);
}
void ClientSession::handle(PauseGroupRequest request, Done<PauseGroupReply> done) {
  owner_request(std::move(request), std::move(done), &CatalogOwner::pause_group);
}
void ClientSession::handle(SetBrakeRequest request, Done<SetBrakeReply> done) {
  owner_request(std::move(request), std::move(done), &CatalogOwner::set_brake);
}
void ClientSession::handle(ResetGroupRequest request, Done<ResetGroupReply> done) {
  owner_request(std::move(request), std::move(done), &CatalogOwner::reset_group);
}

void ClientSession::handle(DescribeTopicRequest request, Done<DescribeTopicReply> done) {
  Reply<TopicInfo> topic = topic_named(request.name);
  if (!topic) return answer<DescribeTopicReply>(std::move(done), topic.error());
  DescribeTopicReply reply;
  reply.topic = *topic;
  for (const GroupInfo& group : gateway_.home_.catalog()->groups) {
    if (group.topic == topic->id) reply.groups.push_back(group.name);
  }
  using Statuses = std::vector<PartitionStatus>;
  ask_shards<Statuses>(
      gateway_.mailbox_, gateway_.home_.index(), all_shards(gateway_.mailbox_),
      [topic = *topic](Shard& shard, auto answered) {
        Statuses statuses;
        for (std::uint32_t i = 0; i < topic.partitions.size(); ++i) {
          if (topic.partitions[i].shard != shard.index()) continue;
          if (auto status = shard.partitions().status(topic.id, {i})) statuses.push_back(*status);
        }
        shard.when_durable([statuses = std::move(statuses), answered = std::move(answered)](
                               bool) mutable { answered(std::move(statuses)); });
      },
      [reply = std::move(reply),
       done = std::move(done)](std::vector<std::optional<Statuses>> parts) mutable {
        for (std::optional<Statuses>& part : parts) {
          if (!part) return done(shard_busy());
          reply.partitions.insert(reply.partitions.end(), part->begin(), part->end());
        }
        std::ranges::sort(reply.partitions, {}, &PartitionStatus::partition);
        done(std::move(reply));
      });
}

// --- publishing and reading ---

namespace {

/// A part of a publish on its way to its shard.
struct PartForShard {
  PublishPart part;
  bool keys_required = false;  ///< its topic is compacted (S23)
};

}  // namespace

void ClientSession::handle(PublishRequest request, Done<PublishReply> done) {
  std::shared_ptr<const Catalog> catalog = gateway_.home_.catalog();
  PublishReply reply;
  reply.parts.assign(request.parts.size(), no_partition());
  ByShard<PartForShard> parts;
  for (std::size_t i = 0; i < request.parts.size(); ++i) {
    PublishPart& part = request.parts[i];
    const TopicInfo* topic = catalog->topic(part.topic);
    if (topic == nullptr) {
      reply.parts[i] = RequestError(Errc::kUnknownTopic, "there is no topic with id " +
                                                             std::to_string(part.topic.value) +
                                                             "; ask for the metadata again");
    } else if (const PartitionPlace* place = place_of(topic, part.partition)) {
      parts[place->shard].emplace_back(i, PartForShard{std::move(part), topic->policy.compacts()});
    }
  }
  if (parts.empty()) return answer<PublishReply>(std::move(done), std::move(reply));
  using Results = std::vector<std::pair<std::size_t, Reply<PublishResult>>>;
  std::vector<ShardIndex> shards = shards_of(parts);
  auto owned = std::make_shared<const ByShard<PartForShard>>(std::move(parts));
  ask_shards<Results>(
      gateway_.mailbox_, gateway_.home_.index(), shards,
      [owned](Shard& shard, auto answered) {
        const auto& mine = owned->at(shard.index());
        auto results = std::make_shared<Results>();
        auto reply_when_all = std::make_shared<decltype(answered)>(std::move(answered));
        for (const auto& [index, one] : mine) {
          auto published = [results, reply_when_all, index,
                            count = mine.size()](Reply<PublishResult> result) {
            results->emplace_back(index, std::move(result));
            if (results->size() == count) (*reply_when_all)(std::move(*results));
          };
          shard.partitions().publish(one.part, one.keys_required, std::move(published));
        }
      },
      [reply = std::move(reply), shards, owned,
       done = std::move(done)](std::vector<std::optional<Results>> answers) mutable {
        for (std::size_t s = 0; s < answers.size(); ++s) {
          if (!answers[s]) {
            for (const auto& [index, part] : owned->at(shards[s]))
              reply.parts[index] = shard_busy();
            continue;
          }
          for (auto& [index, result] : *answers[s]) reply.parts[index] = std::move(result);
        }
        done(std::move(reply));
      });
}

void ClientSession::handle(OpenProducerRequest request, Done<OpenProducerReply> done) {
  if (request.id.uuid.is_nil()) {
    return answer<OpenProducerReply>(
        std::move(done), RequestError(Errc::kInvalidRequest, "the producer id is missing"));
  }
  ask_shards<Reply<OpenProducerReply>>(
      gateway_.mailbox_, gateway_.home_.index(), all_shards(gateway_.mailbox_),
      [request](Shard& shard, auto answered) {
        shard.partitions().open_producer(request, std::move(answered));
      },
      [done = std::move(done)](std::vector<std::optional<Reply<OpenProducerReply>>> parts) mutable {
        OpenProducerReply reply;
        for (std::optional<Reply<OpenProducerReply>>& part : parts) {
          if (!part) return done(shard_busy());
          if (!*part) return done(part->error());
          auto& positions = (*part)->positions;
          reply.positions.insert(reply.positions.end(), positions.begin(), positions.end());
        }
        done(std::move(reply));
      });
}

void ClientSession::handle(ListProducersRequest /*request*/, Done<ListProducersReply> done) {
  using Producers = std::vector<ProducerInfo>;
  ask_shards<Producers>(
      gateway_.mailbox_, gateway_.home_.index(), all_shards(gateway_.mailbox_),
      [](Shard& shard, auto answered) {
        shard.when_durable(
            [producers = shard.partitions().list_producers(),
             answered = std::move(answered)](bool) mutable { answered(std::move(producers)); });
      },
      [done = std::move(done)](std::vector<std::optional<Producers>> parts) mutable {
        // Every shard knows every producer, unless a broker was cut off while one was opened or
        // removed: then some do, and it is still to be seen.
        std::map<ProducerId, ProducerInfo> all;
        for (std::optional<Producers>& part : parts) {
          if (!part) return done(shard_busy());
          for (ProducerInfo& producer : *part) {
            auto [it, inserted] = all.try_emplace(producer.id, producer);
            if (inserted) continue;
            if (producer.epoch > it->second.epoch) {
              it->second.epoch = producer.epoch;
              it->second.name = std::move(producer.name);
            }
            auto& positions = it->second.positions;
            positions.insert(positions.end(), producer.positions.begin(), producer.positions.end());
          }
        }
        ListProducersReply reply;
        for (auto& [id, producer] : all) {
          std::ranges::sort(producer.positions, {}, [](const ProducerPosition& position) {
            return std::pair(position.topic, position.partition);
          });
          reply.producers.push_back(std::move(producer));
        }
        if (Reply<void> fits = check_fits(reply); !fits) return done(fits.error());
        done(std::move(reply));
      });
}

void ClientSession::handle(RemoveProducerRequest request, Done<RemoveProducerReply> done) {
  ask_shards<Reply<bool>>(
      gateway_.mailbox_, gateway_.home_.index(), all_shards(gateway_.mailbox_),
      [request](Shard& shard, auto answered) {
        shard.partitions().remove_producer(request, std::move(answered));
      },
      [id = request.id,
       done = std::move(done)](std::vector<std::optional<Reply<bool>>> parts) mutable {
        bool known = false;
        for (std::optional<Reply<bool>>& part : parts) {
          if (!part) return done(shard_busy());
          if (!*part) return done(part->error());
          known = known || **part;
        }
        if (!known) {
          return done(RequestError(Errc::kInvalidRequest,
                                   "there is no durable producer " + to_string(id.uuid)));
        }
        done(RemoveProducerReply{});
      });
}

void ClientSession::handle(ReadRequest request, Done<ReadReply> done) {
  std::shared_ptr<const Catalog> catalog = gateway_.home_.catalog();
  const PartitionPlace* place = place_of(catalog->topic(request.topic), request.partition);
  if (place == nullptr) return answer<ReadReply>(std::move(done), no_partition());
  ask_shards<Reply<ReadReply>>(
      gateway_.mailbox_, gateway_.home_.index(), {place->shard},
      [request](Shard& shard, auto answered) {
        shard.partitions().read(request, std::move(answered));
      },
      [done = std::move(done)](std::vector<std::optional<Reply<ReadReply>>> replies) mutable {
        if (!replies.front()) return done(shard_busy());
        done(std::move(*replies.front()));
      });
}

// --- groups and consuming ---

void ClientSession::handle(DescribeGroupRequest request, Done<DescribeGroupReply> done) {
  Reply<GroupInfo> group = group_named(request.name);
  if (!group) return answer<DescribeGroupReply>(std::move(done), group.error());
  DescribeGroupReply reply;
  reply.group = *group;
  if (const TopicInfo* topic = gateway_.home_.catalog()->topic(group->topic)) {
    reply.topic = topic->name;
  }
  struct Status {
    std::vector<GroupPartitionStatus> partitions;
    std::size_t consumers = 0;
  };
  ask_shards<Status>(
      gateway_.mailbox_, gateway_.home_.index(), all_shards(gateway_.mailbox_),
      [id = group->id](Shard& shard, auto answered) {
        Status status{shard.delivery().status(id), shard.delivery().consumer_count(id)};
        shard.when_durable([status = std::move(status), answered = std::move(answered)](
                               bool) mutable { answered(std::move(status)); });
      },
      [reply = std::move(reply),
       done = std::move(done)](std::vector<std::optional<Status>> parts) mutable {
        for (std::optional<Status>& part : parts) {
          if (!part) return done(shard_busy());
          // A consumer is attached to every shard that has partitions of its topic.
          reply.consumers = std::max(reply.consumers, static_cast<std::uint32_t>(part->consumers));
          for (auto& status : part->partitions) reply.partitions.push_back(std::move(status));
        }
        std::ranges::sort(reply.partitions, {}, &GroupPartitionStatus::partition);
        done(std::move(reply));
      });
}

void ClientSession::handle(CheckGroupRequest request, Done<CheckGroupReply> done) {
  Reply<GroupInfo> group = group_named(request.name);
  if (!group) return answer<CheckGroupReply>(std::move(done), group.error());
  using Checks = std::vector<PartitionCheck>;
  ask_shards<Checks>(
      gateway_.mailbox_, gateway_.home_.index(), all_shards(gateway_.mailbox_),
      [id = group->id](Shard& shard, auto answered) {
        shard.when_durable([checks = shard.delivery().check(id), answered = std::move(answered)](
                               bool) mutable { answered(std::move(checks)); });
      },
      [done = std::move(done)](std::vector<std::optional<Checks>> parts) mutable {
        CheckGroupReply reply;
        for (std::optional<Checks>& part : parts) {
          if (!part) return done(shard_busy());
          for (PartitionCheck& check : *part) reply.partitions.push_back(std::move(check));
        }
        std::ranges::sort(reply.partitions, {}, &PartitionCheck::partition);
        done(std::move(reply));
      });
}

Gateway::Consumer* ClientSession::find_subscription(std::uint32_t subscription) const {
  auto found = subscriptions_.find(subscription);
  return found == subscriptions_.end() ? nullptr : gateway_.find(found->second);
}

void ClientSession::detach(ConsumerId id, bool clean) {
  Gateway::Consumer* consumer = gateway_.find(id);
  if (consumer == nullptr) return;
  for (const auto& [shard, lent] : consumer->shards) {
    gateway_.mailbox_.post(
        shard,
        [group = consumer->group.id, id, clean](Shard& s) {
          s.delivery().detach(group, id, clean);
        },
        Mailbox::Kind::kAnswer);
  }
  gateway_.consumers_.erase(id);
}

void ClientSession::handle(SubscribeRequest request, Done<SubscribeReply> done) {
  Reply<GroupInfo> group = group_named(request.group);
  if (!group) return answer<SubscribeReply>(std::move(done), group.error());
  if (group->archived) {
    return answer<SubscribeReply>(std::move(done), is_archive(Errc::kUnknownGroup, group->name));
  }
  if (hello_.instance.uuid.is_nil()) {
    return answer<SubscribeReply>(
        std::move(done),
        RequestError(Errc::kInvalidRequest,
                     "this connection's hello named no instance, so it cannot consume"));
  }
  if (subscriptions_.contains(request.subscription)) {
    return answer<SubscribeReply>(
        std::move(done),
        RequestError(Errc::kInvalidRequest,
                     "subscription " + std::to_string(request.subscription) + " exists already"));
  }
  std::shared_ptr<const Catalog> catalog = gateway_.home_.catalog();
  const TopicInfo* topic = catalog->topic(group->topic);
  if (topic == nullptr) {
    return answer<SubscribeReply>(std::move(done), RequestError(Errc::kUnknownTopic, "deleted"));
  }
  auto consumer = std::make_unique<Gateway::Consumer>();
  ConsumerId id{gateway_.home_.index(), gateway_.next_consumer_++};
  consumer->id = id;
  consumer->subscription = request.subscription;
  consumer->sink = &sink_;
  consumer->group = *group;
  consumer->topic = *topic;
  for (const PartitionPlace& place : topic->partitions) consumer->shards[place.shard];
  std::vector<ShardIndex> shards;
  for (const auto& [shard, lent] : consumer->shards) shards.push_back(shard);
  gateway_.consumers_.emplace(id, std::move(consumer));
  subscriptions_.emplace(request.subscription, id);

  // Attaching must arrive before any credit: both are answers' kind, which is never refused.
  for (ShardIndex shard : shards) {
    gateway_.mailbox_.post(
        shard,
        [gateway = &gateway_, id, instance = hello_.instance, group_id = group->id](Shard& s) {
          s.delivery().attach(group_id, {id, gateway, instance, {}, false});
        },
        Mailbox::Kind::kAnswer);
  }
  ask_shards<bool>(
      gateway_.mailbox_, gateway_.home_.index(), shards,
      [](Shard&, auto answered) { answered(true); },
      [reply = SubscribeReply{*group, topic->name}, done = std::move(done)](
          std::vector<std::optional<bool>>) mutable { done(std::move(reply)); });
}

void ClientSession::handle(UnsubscribeRequest request, Done<UnsubscribeReply> done) {
  auto found = subscriptions_.find(request.subscription);
  if (found == subscriptions_.end()) {
    return answer<UnsubscribeReply>(
        std::move(done), RequestError(Errc::kUnknownSubscription, "there is no such subscription"));
  }
  detach(found->second, true);
  subscriptions_.erase(found);
  answer<UnsubscribeReply>(std::move(done), UnsubscribeReply{});
}

Reply<void> ClientSession::handle(CreditRequest request) {
  Gateway::Consumer* consumer = find_subscription(request.subscription);
  // Credit may cross with the end of its subscription: nothing to say then.
  if (consumer == nullptr) return {};
  if (request.bytes > static_cast<std::uint64_t>(kMaxCreditBytes) ||
      consumer->pool.messages + request.messages > kMaxCreditMessages ||
      consumer->pool.bytes + static_cast<std::int64_t>(request.bytes) > kMaxCreditBytes) {
    return RequestError(Errc::kInvalidRequest, "more credit than any consumer can use");
  }
  consumer->pool.messages += request.messages;
  consumer->pool.bytes += static_cast<std::int64_t>(request.bytes);
  gateway_.distribute(*consumer);
  return {};
}

void ClientSession::handle(SettleRequest request, Done<SettleReply> done) {
  Gateway::Consumer* consumer = find_subscription(request.subscription);
  if (consumer == nullptr) {
    return answer<SettleReply>(
        std::move(done), RequestError(Errc::kUnknownSubscription, "there is no such subscription"));
  }
  SettleReply reply;
  reply.outcomes.assign(request.settlements.size(), SettleOutcome::kDone);
  ByShard<Settlement> settlements;
  for (std::size_t i = 0; i < request.settlements.size(); ++i) {
    Settlement& settlement = request.settlements[i];
    if (const PartitionPlace* place = place_of(&consumer->topic, settlement.partition)) {
      settlements[place->shard].emplace_back(i, std::move(settlement));
    } else {
      reply.outcomes[i] = no_partition();
    }
  }
  if (settlements.empty()) return answer<SettleReply>(std::move(done), std::move(reply));
  std::vector<ShardIndex> shards = shards_of(settlements);
  auto owned = std::make_shared<ByShard<Settlement>>(std::move(settlements));
  ask_shards<Reply<SettleReply>>(
      gateway_.mailbox_, gateway_.home_.index(), shards,
      [owned, group = consumer->group.id, instance = hello_.instance](Shard& shard, auto answered) {
        // Each shard takes its own, once; what is left are the places in the request.
        std::vector<Settlement> mine;
        mine.reserve(owned->at(shard.index()).size());
        for (auto& [index, settlement] : owned->at(shard.index())) {
          mine.push_back(std::move(settlement));
        }
        shard.delivery().settle(group, instance, std::move(mine), std::move(answered));
      },
      [reply = std::move(reply), shards, owned,
       done = std::move(done)](std::vector<std::optional<Reply<SettleReply>>> answers) mutable {
        for (std::size_t s = 0; s < answers.size(); ++s) {
          const auto& items = owned->at(shards[s]);
          for (std::size_t i = 0; i < items.size(); ++i) {
            Reply<SettleOutcome>& outcome = reply.outcomes[items[i].first];
            if (!answers[s]) {
              outcome = shard_busy();
            } else if (!*answers[s]) {
              outcome = answers[s]->error();
            } else {
              outcome = std::move((*answers[s])->outcomes[i]);
            }
          }
        }
        done(std::move(reply));
      });
}

void ClientSession::handle(ExtendRequest request, Done<ExtendReply> done) {
  Gateway::Consumer* consumer = find_subscription(request.subscription);
  if (consumer == nullptr) {
    return answer<ExtendReply>(
        std::move(done), RequestError(Errc::kUnknownSubscription, "there is no such subscription"));
  }
  ExtendReply reply;
  reply.outcomes.resize(request.leases.size());
  ByShard<LeaseExtension> leases;
  for (std::size_t i = 0; i < request.leases.size(); ++i) {
    if (const PartitionPlace* place = place_of(&consumer->topic, request.leases[i].partition)) {
      leases[place->shard].emplace_back(i, request.leases[i]);
    } else {
      reply.outcomes[i] = Reply<void>(no_partition());
    }
  }
  if (leases.empty()) return answer<ExtendReply>(std::move(done), std::move(reply));
  std::vector<ShardIndex> shards = shards_of(leases);
  auto owned = std::make_shared<const ByShard<LeaseExtension>>(std::move(leases));
  ask_shards<Reply<ExtendReply>>(
      gateway_.mailbox_, gateway_.home_.index(), shards,
      [owned, group = consumer->group.id, instance = hello_.instance](Shard& shard, auto answered) {
        std::vector<LeaseExtension> mine;
        for (const auto& [index, lease] : owned->at(shard.index())) mine.push_back(lease);
        shard.delivery().extend(group, instance, std::move(mine), std::move(answered));
      },
      [reply = std::move(reply), shards, owned,
       done = std::move(done)](std::vector<std::optional<Reply<ExtendReply>>> answers) mutable {
        for (std::size_t s = 0; s < answers.size(); ++s) {
          const auto& items = owned->at(shards[s]);
          for (std::size_t i = 0; i < items.size(); ++i) {
            Reply<void>& outcome = reply.outcomes[items[i].first];
            if (!answers[s]) {
              outcome = Reply<void>(shard_busy());
            } else if (!*answers[s]) {
              outcome = Reply<void>(answers[s]->error());
            } else {
              outcome = (*answers[s])->outcomes[i];
            }
          }
        }
        done(std::move(reply));
      });
}

// --- dead letters ---

template <class R>
static bool merged_something(const R&) {
  return false;
}
static bool merged_something(const RedriveReply& reply) {
  return reply.redriven > 0;
}

/// Asks every shard about the group's dead letters and merges the answers into the first.
template <class Request, class R, class Call, class Merge>
void ClientSession::ask_group_shards(Request request, Done<R> done, Call call, Merge merge) {
  Reply<GroupInfo> group = group_named(request.selection.group);
  if (!group) return answer<R>(std::move(done), group.error());
  ask_shards<Reply<R>>(
      gateway_.mailbox_, gateway_.home_.index(), all_shards(gateway_.mailbox_),
      [request, id = group->id, call](Shard& shard, auto answered) {
        (shard.dead_letters().*call)(id, request, std::move(answered));
      },
      [done = std::move(done), merge](std::vector<std::optional<Reply<R>>> parts) mutable {
        R merged;
        std::optional<RequestError> error;
        for (std::optional<Reply<R>>& part : parts) {
          if (!part) return done(shard_busy());
          if (!*part) {
            error = part->error();
          } else {
            merge(merged, std::move(**part));
          }
        }
        // Where some were redriven, those at the limit, or erased, are only skipped.
        bool only_some = error && merged_something(merged) &&
                         (*error == Errc::kRedriveLimit || *error == Errc::kDeadLetterState);
        if (error && !only_some) return done(*error);
        if constexpr (requires { fit_frame(merged); }) fit_frame(merged);
        done(std::move(merged));
      });
}

void ClientSession::handle(ListDeadLettersRequest request, Done<ListDeadLettersReply> done) {
  std::uint32_t limit = request.limit;
  ask_group_shards(std::move(request), std::move(done), &DeadLetterDesk::list,
                   [limit](ListDeadLettersReply& all, ListDeadLettersReply part) {
                     all.more = all.more || part.more;
                     for (auto& letter : part.dead_letters)
                       all.dead_letters.push_back(std::move(letter));
                     std::ranges::sort(all.dead_letters, {}, &DeadLetterSummary::id);
                     if (all.dead_letters.size() > limit) {
                       all.dead_letters.erase(all.dead_letters.begin() + limit,
                                              all.dead_letters.end());
                       all.more = true;
                     }
                     for (FingerprintCount& count : part.fingerprints) {
                       auto known = std::ranges::find(all.fingerprints, count.fingerprint,
                                                      &FingerprintCount::fingerprint);
                       if (known == all.fingerprints.end()) {
                         all.fingerprints.push_back(std::move(count));
                       } else {
                         known->count += count.count;
                       }
                     }
                   });
}

void ClientSession::handle(RedriveRequest request, Done<RedriveReply> done) {
  ask_group_shards(std::move(request), std::move(done), &DeadLetterDesk::redrive,
                   [](RedriveReply& all, RedriveReply part) {
                     all.redriven += part.redriven;
                     all.skipped += part.skipped;
                   });
}

void ClientSession::handle(DiscardRequest request, Done<DiscardReply> done) {
  ask_group_shards(std::move(request), std::move(done), &DeadLetterDesk::discard,
                   [](DiscardReply& all, DiscardReply part) {
                     all.discarded += part.discarded;
                     all.skipped += part.skipped;
                     all.erased += part.erased;
                   });
}

void ClientSession::handle(ShowDeadLetterRequest request, Done<ShowDeadLetterReply> done) {
  Reply<GroupInfo> group = group_named(request.group);
  if (!group) return answer<ShowDeadLetterReply>(std::move(done), group.error());
  std::shared_ptr<const Catalog> catalog = gateway_.home_.catalog();
  const TopicInfo* topic = catalog->topic(group->topic);
  const PartitionPlace* place = place_of(topic, request.id.partition);
  if (place == nullptr) return answer<ShowDeadLetterReply>(std::move(done), no_partition());
  ask_shards<Reply<ShowDeadLetterReply>>(
      gateway_.mailbox_, gateway_.home_.index(), {place->shard},
      [id = request.id, group_id = group->id](Shard& shard, auto answered) {
        shard.dead_letters().show(group_id, id, std::move(answered));
      },
      [name = topic->name, done = std::move(done)](
          std::vector<std::optional<Reply<ShowDeadLetterReply>>> replies) mutable {
        if (!replies.front()) return done(shard_busy());
        if (Reply<ShowDeadLetterReply>& reply = *replies.front()) {
          reply->topic = name;
          fit_frame(*reply);
        }
        done(std::move(*replies.front()));
      });
}

void ClientSession::handle(EditDeadLetterRequest request, Done<EditDeadLetterReply> done) {
  Reply<GroupInfo> group = group_named(request.group);
  if (!group) return answer<EditDeadLetterReply>(std::move(done), group.error());
  std::shared_ptr<const Catalog> catalog = gateway_.home_.catalog();
  const PartitionPlace* place = place_of(catalog->topic(group->topic), request.id.partition);
  if (place == nullptr) return answer<EditDeadLetterReply>(std::move(done), no_partition());
  ask_shards<Reply<EditDeadLetterReply>>(
      gateway_.mailbox_, gateway_.home_.index(), {place->shard},
      [request, group_id = group->id](Shard& shard, auto answered) {
        shard.dead_letters().edit(group_id, request, std::move(answered));
      },
      [done = std::move(done)](
          std::vector<std::optional<Reply<EditDeadLetterReply>>> replies) mutable {
        if (!replies.front()) return done(shard_busy());
        done(std::move(*replies.front()));
      });
}

}  // namespace waybill
