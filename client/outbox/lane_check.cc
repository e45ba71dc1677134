#include "client/outbox/lane_check.h"

#include <algorithm>

namespace waybill {
namespace {

std::string place_name(const Catalog& catalog, TopicPartition place) {
  const TopicInfo* topic = catalog.topic(place.first);
  std::string name = topic ? topic->name : "topic id " + std::to_string(place.first.value);
  return name + "/" + std::to_string(place.second.value);
}

class Checker {
 public:
  Checker(const LanePositions& database, const Intent& intent, const Catalog& catalog)
      : database_(database), intent_(intent), catalog_(catalog) {}

  LaneCheck check(const std::vector<ProducerPosition>& broker) {
    for (const ProducerPosition& position : broker) {
      broker_[{position.topic, position.partition}] = position.last_sequence;
    }
    for (const auto& [place, last] : broker_) {
      if (last > 0 && !database_.contains(place)) database_went_back(place, last, 0);
    }
    for (const auto& [place, position] : database_) check_place(place, position);
    judge_missing_topics();
    if (lost_ > 0) {
      broker_went_back("the broker lost up to " + std::to_string(lost_) +
                       " messages that it had acknowledged");
    }
    return std::move(result_);
  }

 private:
  void check_place(TopicPartition place, const LanePosition& position) {
    auto found = broker_.find(place);
    std::uint64_t last = found == broker_.end() ? 0 : found->second;
    auto part = std::find_if(intent_.parts.begin(), intent_.parts.end(),
                             [&](const IntentPart& one) { return one.place() == place; });
    bool in_flight = part != intent_.parts.end();
    if (last == 0 && catalog_.topic(place.first) == nullptr) {
      result_.deleted.push_back(place);
      missing_acknowledged_ = missing_acknowledged_ || position.acknowledged > 0;
      return;
    }
    if (in_flight && last == part->last_sequence()) {
      confirmed_ = true;
      result_.appended.push_back(*part);
    } else if (last == position.acknowledged) {
      confirmed_ = confirmed_ || last > 0;
      if (in_flight) result_.missing.push_back(*part);
    } else if (last > position.acknowledged) {
      database_went_back(place, last, position.acknowledged);
    } else {
      lost_ += position.acknowledged - last;
    }
  }

  /// A deleted topic and a broker that never knew it look the same. Ids are never reused and rise:
  /// a younger topic, or any position that is confirmed, tells that this is still the same broker.
  void judge_missing_topics() {
    if (!missing_acknowledged_ || confirmed_) return;
    TopicId newest{0};
    for (const TopicInfo& topic : catalog_.topics) newest = std::max(newest, topic.id);
    if (newest > result_.deleted.back().first) return;
    broker_went_back(
        "the broker knows none of the topics this outbox has published to: its data was replaced "
        "or restored, or the topics were deleted");
  }

  void database_went_back(TopicPartition place, std::uint64_t broker, std::uint64_t ours) {
    result_.who = WhoWentBack::kDatabase;
    result_.explanation = "the database went back: the broker has sequence " +
                          std::to_string(broker) + " of " + place_name(catalog_, place) +
                          ", the database remembers " + std::to_string(ours);
  }

  void broker_went_back(const std::string& how) {
    if (result_.who == WhoWentBack::kDatabase) return;
    result_.who = WhoWentBack::kBroker;
    result_.explanation = "the broker went back: " + how;
  }

  const LanePositions& database_;
  const Intent& intent_;
  const Catalog& catalog_;
  std::map<TopicPartition, std::uint64_t> broker_;
  LaneCheck result_;
  std::uint64_t lost_ = 0;
  bool confirmed_ = false;
  bool missing_acknowledged_ = false;
};

}  // namespace

LaneCheck check_lane(const LanePositions& database, const std::vector<ProducerPosition>& broker,
                     const Intent& intent, const Catalog& catalog) {
  return Checker(database, intent, catalog).check(broker);
}

}  // namespace waybill
