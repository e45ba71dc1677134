// CatalogOwner: topics and groups, on shard 0 (S13). A change is journaled here, then every shard
// adopts it in its own journal, and only then is it confirmed and shown: a client that was told
// "created" finds it everywhere. After a restart whatever some shard had not adopted is sent again;
// adopting is idempotent.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "broker/core/entries.h"
#include "broker/core/gateway.h"
#include "broker/core/shard_log.h"

namespace waybill {

class CatalogOwner {
 public:
  explicit CatalogOwner(ShardLog& log) : log_(log) {}

  void create_topic(CreateTopicRequest request, Done<CreateTopicReply> done);
  void delete_topic(DeleteTopicRequest request, Done<DeleteTopicReply> done);
  void create_group(CreateGroupRequest request, Done<CreateGroupReply> done);
  void alter_group(AlterGroupRequest request, Done<AlterGroupReply> done);
  void delete_group(DeleteGroupRequest request, Done<DeleteGroupReply> done);

  /// Sends every shard everything, then shows the catalog; `ready` runs when all have adopted.
  void start(std::move_only_function<void()> ready);

  // --- the fold ---

  Result<void> apply(const CatalogChange& change);
  [[nodiscard]] const Catalog& catalog() const { return catalog_; }

 private:
  /// What all shards said to a question.
  using Answered = std::move_only_function<void(Reply<void>)>;

  static void apply_to(Catalog& catalog, const CatalogChange& change);
  void change(CatalogChange change, Answered done);
  void adopt_everywhere(CatalogChange change, Answered done);
  void show();
  template <class R>
  void answer(Done<R> done, Reply<R> reply);
  void check_group_unused(const GroupInfo& group, bool discard_dead_letters, Answered done);

  ShardLog& log_;
  Catalog catalog_;  ///< with what is only staged
  Catalog shown_;    ///< what every shard has adopted durably
  std::uint64_t next_id_ = 1;
};

}  // namespace waybill
