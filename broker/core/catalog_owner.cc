#include "broker/core/catalog_owner.h"

#include <algorithm>
#include <string>

#include "broker/core/ask_shards.h"
#include "broker/core/shard.h"
#include "protocol/base/limits.h"

namespace waybill {
namespace {

/// A change of a brake that found no room in the journal is tried again after this.
constexpr std::chrono::seconds kBrakeRetry{1};

/// Stream ids carry their shard in the top 16 bits.
StreamId stream_of(ShardIndex shard, std::uint64_t number) {
  return {(static_cast<std::uint64_t>(shard.value) << 48) | number};
}

RequestError unknown_topic(const Catalog& catalog, const std::string& name) {
  std::vector<std::string> names;
  for (const TopicInfo& topic : catalog.topics) {
    if (!topic.archived) names.push_back(topic.name);
  }
  std::string text = "there is no topic \"" + name + "\"";
  if (auto meant = did_you_mean(name, names)) text += "; did you mean \"" + *meant + "\"?";
  return {Errc::kUnknownTopic, text};
}

RequestError unknown_group(const Catalog& catalog, const std::string& name) {
  if (catalog.group(name) != nullptr) return is_archive(Errc::kUnknownGroup, name);
  std::vector<std::string> names;
  for (const GroupInfo& group : catalog.groups) names.push_back(group.name);
  std::string text = "there is no group \"" + name + "\"";
  if (auto meant = did_you_mean(name, names)) text += "; did you mean \"" + *meant + "\"?";
  return {Errc::kUnknownGroup, text};
}

/// Nothing if it is an archive.
const GroupInfo* live_group(const Catalog& catalog, const std::string& name) {
  const GroupInfo* group = catalog.group(name);
  return group == nullptr || group->archived ? nullptr : group;
}

}  // namespace

RequestError is_archive(Errc code, const std::string& group) {
  return {code,
          "group \"" + group +
              "\" was deleted; only its dead letters are kept, to be looked at and discarded"};
}

template <class R>
void CatalogOwner::answer(Done<R> done, Reply<R> reply) {
  // Answers about the catalog depend on what is staged: they wait for it (S12).
  log_.when_durable([done = std::move(done), reply = std::move(reply)](bool durable) mutable {
    if (!durable) return done(RequestError(Errc::kOutcomeUnknown, "the shard stopped"));
    done(std::move(reply));
  });
}

// --- the fold ---

void CatalogOwner::apply_to(Catalog& catalog, const CatalogChange& change) {
  std::uint64_t version = 0;
  if (const auto* put_topic = std::get_if<PutTopic>(&change)) {
    const TopicInfo& topic = put_topic->topic;
    std::erase_if(catalog.topics, [&](const TopicInfo& t) { return t.id == topic.id; });
    catalog.topics.push_back(topic);
    version = topic.version;
  } else if (const auto* put_group = std::get_if<PutGroup>(&change)) {
    const GroupInfo& group = put_group->group;
    std::erase_if(catalog.groups, [&](const GroupInfo& g) { return g.id == group.id; });
    catalog.groups.push_back(group);
    version = group.version;
  } else if (const auto* drop_topic = std::get_if<DropTopic>(&change)) {
    std::erase_if(catalog.topics, [&](const TopicInfo& t) { return t.id == drop_topic->topic; });
    version = drop_topic->version;
  } else {
    const auto& drop_group = std::get<DropGroup>(change);
    std::erase_if(catalog.groups, [&](const GroupInfo& g) { return g.id == drop_group.group; });
    version = drop_group.version;
  }
  catalog.version = std::max(catalog.version, version);
}

Result<void> CatalogOwner::apply(const CatalogChange& change) {
  auto seen = [this](std::uint64_t id) { next_id_ = std::max(next_id_, id + 1); };
  if (const auto* put_topic = std::get_if<PutTopic>(&change)) {
    seen(put_topic->topic.id.value);
    for (const PartitionPlace& place : put_topic->topic.partitions) {
      seen(place.stream.value & 0xffff'ffff'ffff);
    }
  } else if (const auto* put_group = std::get_if<PutGroup>(&change)) {
    seen(put_group->group.id.value);
    if (put_group->reset_dead) {
      reset_dead_.insert(put_group->group.id);
    } else {
      reset_dead_.erase(put_group->group.id);
    }
  } else if (const auto* drop_group = std::get_if<DropGroup>(&change)) {
    judges_.erase(drop_group->group);
    reset_dead_.erase(drop_group->group);
  }
  apply_to(catalog_, change);
  return {};
}

// --- changing ---

void CatalogOwner::change(CatalogChange change, Adopted done) {
  ByteVector bytes = encode(change);
  if (log_.admit(bytes.size() + 4096, true) != Admission::kAdmitted) {
    return done(RequestError(Errc::kDiskFull, "no room to record the change"));
  }
  log_.stage(EntryType::kCatalog, bytes);
  Result<void> applied = apply(change);
  WB_ASSERT(applied.ok(), "a catalog change was checked before it is staged");
  log_.when_durable(
      [this, change = std::move(change), done = std::move(done)](bool durable) mutable {
        if (!durable) return done(RequestError(Errc::kOutcomeUnknown, "the shard stopped"));
        // What other changes have staged meanwhile is not shown with this one (S13).
        auto adopted = [this, change, done = std::move(done)](const Reply<Resets>& all) mutable {
          if (all) {
            apply_to(shown_, change);
            show();
          }
          done(all);
        };
        adopt_everywhere(change, std::move(adopted));
      });
}

void CatalogOwner::adopt_everywhere(CatalogChange change, Adopted done) {
  TopicInfo topic;
  if (const auto* put_group = std::get_if<PutGroup>(&change)) {
    if (const TopicInfo* found = catalog_.topic(put_group->group.topic)) topic = *found;
  }
  ask_shards<Reply<Resets>>(
      log_.mailbox(), log_.options().shard, all_shards(log_.mailbox()),
      [change, topic](Shard& shard, auto reply) { shard.adopt(change, topic, std::move(reply)); },
      [done = std::move(done)](std::vector<std::optional<Reply<Resets>>> answers) mutable {
        Resets resets;
        for (std::optional<Reply<Resets>>& answer : answers) {
          if (!answer) return done(shard_busy());
          if (!*answer) return done(*answer);
          resets.insert(resets.end(), (*answer)->begin(), (*answer)->end());
        }
        std::ranges::sort(resets, {}, &ResetPartition::partition);
        done(std::move(resets));
      },
      Mailbox::Kind::kAnswer);  // it is journaled: it has to arrive
}

void CatalogOwner::adopt_known(CatalogChange change, Adopted done) {
  log_.when_durable(
      [this, change = std::move(change), done = std::move(done)](bool durable) mutable {
        if (!durable) return done(RequestError(Errc::kOutcomeUnknown, "the shard stopped"));
        adopt_everywhere(std::move(change), std::move(done));
      });
}

/// Every change of a group goes through here: what its last reset was to do stays with it.
PutGroup CatalogOwner::put(GroupInfo group) const {
  bool reset_dead = reset_dead_.contains(group.id);
  return {std::move(group), reset_dead};
}

void CatalogOwner::show() {
  auto snapshot = std::make_shared<const Catalog>(shown_);
  for (ShardIndex shard : all_shards(log_.mailbox())) {
    log_.mailbox().post(
        shard, [snapshot](Shard& s) { s.show_catalog(snapshot); }, Mailbox::Kind::kAnswer);
  }
}

void CatalogOwner::start(std::move_only_function<void()> ready) {
  shown_ = catalog_;  // nothing is staged yet that recovery did not find
  // One after the other, topics before the groups that need them.
  auto changes = std::make_shared<std::vector<CatalogChange>>();
  for (const TopicInfo& topic : catalog_.topics) changes->push_back(PutTopic{topic});
  for (const GroupInfo& group : catalog_.groups) changes->push_back(put(group));
  auto missing = std::make_shared<std::size_t>(changes->size() + 1);
  auto all_ready = std::make_shared<std::move_only_function<void()>>(std::move(ready));
  auto adopted = [this, missing, all_ready](const Reply<Resets>&) {
    if (--*missing > 0) return;
    show();
    const std::vector<TopicInfo> topics = catalog_.topics;
    for (const TopicInfo& topic : topics) drop_unused_archive(topic.id);
    (*all_ready)();
  };
  for (CatalogChange& change : *changes) adopt_everywhere(std::move(change), adopted);
  for (const GroupInfo& group : catalog_.groups) {
    if (auto next = BrakeJudge(group.brake).deadline()) {
      judge_of(group);
      brake_times_.emplace(*next, group.id);
    }
  }
  ask_shards<bool>(
      log_.mailbox(), log_.options().shard, all_shards(log_.mailbox()),
      [catalog = std::make_shared<const Catalog>(catalog_)](Shard& shard, auto reply) {
        shard.drop_missing(*catalog, std::move(reply));
      },
      [adopted](const std::vector<std::optional<bool>>&) { adopted(Resets()); },
      Mailbox::Kind::kAnswer);
}

// --- requests ---

void CatalogOwner::create_topic(CreateTopicRequest request, Done<CreateTopicReply> done) {
  if (Reply<void> valid = validate_name("topic", request.name); !valid) {
    return answer<CreateTopicReply>(std::move(done), valid.error());
  }
  if (request.policy) {
    if (Reply<void> valid = validate(*request.policy); !valid) {
      return answer<CreateTopicReply>(std::move(done), valid.error());
    }
  }
  if (request.partitions == 0 || request.partitions > limits::kMaxPartitions) {
    return answer<CreateTopicReply>(
        std::move(done),
        RequestError(Errc::kInvalidRequest,
                     "partitions must be 1 to " + std::to_string(limits::kMaxPartitions)));
  }
  if (const TopicInfo* known = catalog_.topic(request.name)) {
    if (request.policy && *request.policy != known->policy) {
      return answer<CreateTopicReply>(
          std::move(done),
          RequestError(Errc::kTopicExists,
                       "topic \"" + request.name +
                           "\" exists with another retention; change it with `topic set`"));
    }
    if (known->partitions.size() == request.partitions) {
      // Perhaps not adopted everywhere yet: then this waits for it too (S13).
      adopt_known(PutTopic{*known},
                  [this, topic = *known, done = std::move(done)](const Reply<Resets>& all) mutable {
                    if (!all) return answer<CreateTopicReply>(std::move(done), all.error());
                    answer<CreateTopicReply>(std::move(done), CreateTopicReply{topic, false});
                  });
      return;
    }
    return answer<CreateTopicReply>(
        std::move(done),
        RequestError(Errc::kTopicExists, "topic \"" + request.name + "\" exists with " +
                                             std::to_string(known->partitions.size()) +
                                             " partitions; their number is fixed at creation"));
  }
  if (catalog_.topics.size() >= limits::kMaxTopics) {
    return answer<CreateTopicReply>(
        std::move(done), RequestError(Errc::kInvalidRequest, "there are too many topics"));
  }
  TopicInfo topic;
  std::uint64_t id = next_id_;
  topic.id = {id++};
  topic.name = request.name;
  topic.version = catalog_.version + 1;
  if (request.policy) topic.policy = *request.policy;
  for (std::uint32_t i = 0; i < request.partitions; ++i) {
    ShardIndex shard{
        static_cast<std::uint16_t>((topic.id.value + i) % log_.mailbox().shard_count())};
    topic.partitions.push_back({shard, stream_of(shard, id++)});
  }
  change(PutTopic{topic},
         [this, topic, done = std::move(done)](const Reply<Resets>& changed) mutable {
           if (!changed) return answer<CreateTopicReply>(std::move(done), changed.error());
           answer<CreateTopicReply>(std::move(done), CreateTopicReply{topic, true});
         });
}

void CatalogOwner::alter_topic(AlterTopicRequest request, Done<AlterTopicReply> done) {
  if (Reply<void> valid = validate(request.policy); !valid) {
    return answer<AlterTopicReply>(std::move(done), valid.error());
  }
  const TopicInfo* known = catalog_.topic(request.name);
  if (known == nullptr) {
    return answer<AlterTopicReply>(std::move(done), unknown_topic(catalog_, request.name));
  }
  TopicInfo topic = *known;
  topic.policy = request.policy;
  const bool news = topic != *known;
  if (news) topic.version = catalog_.version + 1;
  auto adopted = [this, topic, done = std::move(done)](const Reply<Resets>& all) mutable {
    if (!all) return answer<AlterTopicReply>(std::move(done), all.error());
    answer<AlterTopicReply>(std::move(done), AlterTopicReply{topic});
  };
  if (news) {
    change(PutTopic{topic}, std::move(adopted));
  } else {
    adopt_known(PutTopic{topic}, std::move(adopted));
  }
}

void CatalogOwner::delete_topic(DeleteTopicRequest request, Done<DeleteTopicReply> done) {
  const TopicInfo* topic = catalog_.topic(request.name);
  if (topic == nullptr) {
    return answer<DeleteTopicReply>(std::move(done), unknown_topic(catalog_, request.name));
  }
  for (const GroupInfo& group : catalog_.groups) {
    if (group.topic != topic->id || group.archived) continue;
    return answer<DeleteTopicReply>(
        std::move(done),
        RequestError(Errc::kTopicInUse,
                     "group \"" + group.name + "\" consumes it; delete the group first"));
  }
  CatalogChange gone = DropTopic{topic->id, catalog_.version + 1};
  if (has_groups(topic->id)) {
    TopicInfo archived = *topic;
    archived.archived = true;
    archived.version = catalog_.version + 1;
    gone = PutTopic{std::move(archived)};
  }
  change(std::move(gone), [this, done = std::move(done)](const Reply<Resets>& changed) mutable {
    if (!changed) return answer<DeleteTopicReply>(std::move(done), changed.error());
    answer<DeleteTopicReply>(std::move(done), DeleteTopicReply{});
  });
}

void CatalogOwner::create_group(CreateGroupRequest request, Done<CreateGroupReply> done) {
  for (Reply<void> valid :
       {validate_name("group", request.name), validate(request.policy), validate(request.start)}) {
    if (!valid) return answer<CreateGroupReply>(std::move(done), valid.error());
  }
  const TopicInfo* topic = catalog_.topic(request.topic);
  if (topic == nullptr) {
    return answer<CreateGroupReply>(std::move(done), unknown_topic(catalog_, request.topic));
  }
  if (const GroupInfo* known = catalog_.group(request.name)) {
    if (known->archived) {
      return answer<CreateGroupReply>(std::move(done),
                                      is_archive(Errc::kOpenDeadLetters, request.name));
    }
    if (known->topic == topic->id && known->policy == request.policy) {
      adopt_known(put(*known),
                  [this, group = *known, done = std::move(done)](const Reply<Resets>& all) mutable {
                    if (!all) return answer<CreateGroupReply>(std::move(done), all.error());
                    answer<CreateGroupReply>(std::move(done), CreateGroupReply{group, false});
                  });
      return;
    }
    return answer<CreateGroupReply>(
        std::move(done),
        RequestError(Errc::kPolicyMismatch,
                     "group \"" + request.name +
                         "\" exists with another policy or topic; change it with `group set`"));
  }
  if (catalog_.groups.size() >= limits::kMaxGroups) {
    return answer<CreateGroupReply>(
        std::move(done), RequestError(Errc::kInvalidRequest, "there are too many groups"));
  }
  GroupInfo group;
  group.id = {next_id_};
  group.name = request.name;
  group.topic = topic->id;
  group.version = catalog_.version + 1;
  group.policy = request.policy;
  group.start = request.start;
  change(PutGroup{group},
         [this, group, done = std::move(done)](const Reply<Resets>& changed) mutable {
           if (!changed) return answer<CreateGroupReply>(std::move(done), changed.error());
           answer<CreateGroupReply>(std::move(done), CreateGroupReply{group, true});
         });
}

void CatalogOwner::alter_group(AlterGroupRequest request, Done<AlterGroupReply> done) {
  if (Reply<void> valid = validate(request.policy); !valid) {
    return answer<AlterGroupReply>(std::move(done), valid.error());
  }
  const GroupInfo* known = live_group(catalog_, request.name);
  if (known == nullptr) {
    return answer<AlterGroupReply>(std::move(done), unknown_group(catalog_, request.name));
  }
  GroupInfo group = *known;
  group.policy = request.policy;
  put_group<AlterGroupReply>(group, std::move(done));
  judge_of(*known);  // a policy without brake closes it
  follow_judge(group.id);
}

template <class R>
void CatalogOwner::put_group(GroupInfo group, Done<R> done) {
  auto adopted = [this, done = std::move(done)](const GroupInfo& put,
                                                const Reply<Resets>& all) mutable {
    if (!all) return answer<R>(std::move(done), all.error());
    answer<R>(std::move(done), R{put});
  };
  if (group == *catalog_.group(group.id)) {
    return adopt_known(put(group), std::bind_front(std::move(adopted), group));
  }
  group.version = catalog_.version + 1;
  change(put(group), std::bind_front(std::move(adopted), group));
}

void CatalogOwner::pause_group(PauseGroupRequest request, Done<PauseGroupReply> done) {
  const GroupInfo* known = live_group(catalog_, request.name);
  if (known == nullptr) {
    return answer<PauseGroupReply>(std::move(done), unknown_group(catalog_, request.name));
  }
  GroupInfo group = *known;
  group.paused = request.paused;
  put_group<PauseGroupReply>(std::move(group), std::move(done));
}

// --- resets ---

void CatalogOwner::reset_group(ResetGroupRequest request, Done<ResetGroupReply> done) {
  if (Reply<void> valid = validate(request.start); !valid) {
    return answer<ResetGroupReply>(std::move(done), valid.error());
  }
  const GroupInfo* known = live_group(catalog_, request.name);
  if (known == nullptr) {
    return answer<ResetGroupReply>(std::move(done), unknown_group(catalog_, request.name));
  }
  if (request.dry_run) return plan_reset(*known, std::move(request), std::move(done));
  GroupInfo group = *known;
  group.start = request.start;
  ++group.epoch;
  group.version = catalog_.version + 1;
  change(PutGroup{group, request.include_dead},
         [this, group, done = std::move(done)](const Reply<Resets>& all) mutable {
           if (!all) return answer<ResetGroupReply>(std::move(done), all.error());
           answer<ResetGroupReply>(std::move(done), ResetGroupReply{group, *all});
         });
}

void CatalogOwner::plan_reset(const GroupInfo& group, ResetGroupRequest request,
                              Done<ResetGroupReply> done) {
  ask_shards<Resets>(
      log_.mailbox(), log_.options().shard, all_shards(log_.mailbox()),
      [id = group.id, request](Shard& shard, auto reply) {
        Resets plan = shard.delivery().plan_reset(id, request.start, request.include_dead);
        shard.when_durable([plan = std::move(plan), reply = std::move(reply)](bool) mutable {
          reply(std::move(plan));
        });
      },
      [this, group, done = std::move(done)](std::vector<std::optional<Resets>> plans) mutable {
        ResetGroupReply planned{group, {}};
        for (std::optional<Resets>& plan : plans) {
          if (!plan) return answer<ResetGroupReply>(std::move(done), shard_busy());
          planned.partitions.insert(planned.partitions.end(), plan->begin(), plan->end());
        }
        std::ranges::sort(planned.partitions, {}, &ResetPartition::partition);
        answer<ResetGroupReply>(std::move(done), std::move(planned));
      });
}

// --- brakes ---

void CatalogOwner::set_brake(SetBrakeRequest request, Done<SetBrakeReply> done) {
  const GroupInfo* known = live_group(catalog_, request.name);
  if (known == nullptr) {
    return answer<SetBrakeReply>(std::move(done), unknown_group(catalog_, request.name));
  }
  GroupInfo group = *known;
  BrakeJudge& judge = judge_of(group);
  BrakeJudge before = judge;
  judge.set_mode(request.mode, log_.clock());
  judge.tick(group.policy.brake, log_.clock());
  group.brake = judge.brake();
  put_group<SetBrakeReply>(group, std::move(done));
  // Not recorded, for lack of room: then it was only asked for.
  if (catalog_.group(group.id)->brake != group.brake) judge = before;
}

BrakeJudge& CatalogOwner::judge_of(const GroupInfo& group) {
  return judges_.try_emplace(group.id, group.brake).first->second;
}

void CatalogOwner::ended(GroupId id, const std::vector<DeliveryOutcome>& outcomes) {
  const GroupInfo* group = catalog_.group(id);
  if (group == nullptr) return;
  BrakeJudge& judge = judge_of(*group);
  for (const DeliveryOutcome& outcome : outcomes) {
    judge.outcome(group->policy.brake, outcome, log_.clock());
  }
  if (judge.brake() != group->brake) follow_judge(id);
}

void CatalogOwner::follow_judge(GroupId id) {
  const GroupInfo* known = catalog_.group(id);
  if (known == nullptr) return;
  BrakeJudge& judge = judge_of(*known);
  judge.tick(known->policy.brake, log_.clock());
  if (judge.brake() != known->brake) {
    GroupInfo group = *known;
    group.brake = judge.brake();
    group.version = catalog_.version + 1;
    change(put(group), [](const Reply<Resets>&) {});
    if (catalog_.group(id)->brake != group.brake) {
      brake_times_.emplace(log_.clock().monotonic() + kBrakeRetry, id);
    }
  }
  if (auto next = judge.deadline()) brake_times_.emplace(*next, id);
}

void CatalogOwner::tick() {
  MonotonicTime now = log_.clock().monotonic();
  while (!brake_times_.empty() && brake_times_.begin()->first <= now) {
    GroupId group = brake_times_.begin()->second;
    brake_times_.erase(brake_times_.begin());
    follow_judge(group);
  }
}

std::optional<MonotonicTime> CatalogOwner::deadline() const {
  if (brake_times_.empty()) return std::nullopt;
  return brake_times_.begin()->first;
}

// --- deleting groups ---

void CatalogOwner::delete_group(DeleteGroupRequest request, Done<DeleteGroupReply> done) {
  const GroupInfo* known = catalog_.group(request.name);
  if (known == nullptr) {
    return answer<DeleteGroupReply>(std::move(done), unknown_group(catalog_, request.name));
  }
  const bool keep = request.keep_dead_letters;
  if (keep && request.discard_dead_letters) {
    return answer<DeleteGroupReply>(
        std::move(done),
        RequestError(Errc::kInvalidRequest, "dead letters are either kept or discarded"));
  }
  auto unused = [this, id = known->id, keep,
                 done = std::move(done)](const Reply<std::uint64_t>& dead) mutable {
    if (!dead) return answer<DeleteGroupReply>(std::move(done), dead.error());
    const GroupInfo* group = catalog_.group(id);
    if (group == nullptr || (group->archived && keep)) {
      return answer<DeleteGroupReply>(std::move(done), DeleteGroupReply{});
    }
    auto changed = [this, done = std::move(done)](const Reply<Resets>& all) mutable {
      if (!all) return answer<DeleteGroupReply>(std::move(done), all.error());
      answer<DeleteGroupReply>(std::move(done), DeleteGroupReply{});
    };
    if (keep && *dead > 0) return archive(*group, std::move(changed));
    const TopicId topic = group->topic;
    change(DropGroup{id, catalog_.version + 1}, std::move(changed));
    drop_unused_archive(topic);
  };
  check_group_unused(*known, keep || request.discard_dead_letters, std::move(unused));
}

/// The group takes nothing any more from its topic, and gives up what it had taken: that is a reset
/// to the end, which leaves its open dead letters as they are (D15).
void CatalogOwner::archive(GroupInfo group, Adopted done) {
  judges_.erase(group.id);
  group.archived = true;
  group.paused = false;
  group.brake = {};
  group.start = {};
  group.start.kind = StartKind::kLatest;
  ++group.epoch;
  group.version = catalog_.version + 1;
  change(PutGroup{std::move(group)}, std::move(done));
}

bool CatalogOwner::has_groups(TopicId topic) const {
  return std::ranges::find(catalog_.groups, topic, &GroupInfo::topic) != catalog_.groups.end();
}

/// A deleted topic goes with the last archive of its groups.
void CatalogOwner::drop_unused_archive(TopicId id) {
  const TopicInfo* topic = catalog_.topic(id);
  if (topic == nullptr || !topic->archived || has_groups(id)) return;
  change(DropTopic{id, catalog_.version + 1}, [](const Reply<Resets>&) {});
}

void CatalogOwner::check_group_unused(const GroupInfo& group, bool dead_letters_may_be_open,
                                      std::move_only_function<void(Reply<std::uint64_t>)> done) {
  struct Use {
    std::uint64_t consumers = 0;
    std::uint64_t dead = 0;
  };
  ask_shards<Use>(
      log_.mailbox(), log_.options().shard, all_shards(log_.mailbox()),
      [id = group.id](Shard& shard, auto reply) {
        Use use;
        use.consumers = shard.delivery().consumer_count(id);
        use.dead = shard.delivery().unresolved_dead_letters(id);
        shard.when_durable([use, reply = std::move(reply)](bool) mutable { reply(use); });
      },
      [name = group.name, dead_letters_may_be_open,
       done = std::move(done)](std::vector<std::optional<Use>> uses) mutable {
        std::uint64_t consumers = 0;
        std::uint64_t dead = 0;
        for (const std::optional<Use>& use : uses) {
          if (!use) return done(shard_busy());
          consumers = std::max(consumers, use->consumers);
          dead += use->dead;
        }
        if (consumers > 0) {
          return done(RequestError(Errc::kGroupInUse, "group \"" + name + "\" has " +
                                                          std::to_string(consumers) +
                                                          " connected consumers; stop them first"));
        }
        if (dead > 0 && !dead_letters_may_be_open) {  // D15
          return done(RequestError(Errc::kOpenDeadLetters,
                                   "group \"" + name + "\" has " + std::to_string(dead) +
                                       " open dead letters; redrive or discard them first, or ask "
                                       "to keep or discard them"));
        }
        done(dead);
      });
}

}  // namespace waybill
