// Goal: the way of a message through the whole core - published, delivered, settled, and all of it
// again after the power was cut. Method: CoreRig, one or several shards on a simulated disk.
#include "tests/broker/core/core_rig.h"

namespace waybill {
namespace {

TEST(Core, AMessageIsPublishedDeliveredAcknowledgedAndSurvivesTheCut) {
  CoreRig rig;
  TestClient& client = rig.connect();
  TopicId topic = rig.create_topic(client, "orders");
  rig.create_group(client, "billing", "orders");
  Reply<PublishResult> published = client.publish(topic, 0, {"a", "b", "c"});
  ASSERT_TRUE(published.ok());
  EXPECT_EQ(published->base_offset, Offset{0});
  client.subscribe("billing");
  std::vector<Delivered> got = client.take();
  ASSERT_EQ(got.size(), 3u);
  EXPECT_EQ(got[1].value, "b");
  Reply<SettleOutcome> acked = client.ack(got[1]);
  ASSERT_TRUE(acked.ok());
  EXPECT_EQ(*acked, SettleOutcome::kDone);

  rig.restart();
  TestClient& again = rig.connect();
  Reply<ReadReply> read = again.read(topic, 0, 0);
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(records_of(read->batches).size(), 3u);
  again.subscribe("billing");
  Accounting accounting = rig.accounting(again, "billing");
  EXPECT_EQ(accounting.done, 1u);
  EXPECT_EQ(accounting.leased, 2u);
  EXPECT_TRUE(again.ack(got[0]).ok()) << "the lease is its instance's again (D5)";
  EXPECT_TRUE(again.ack(got[2]).ok());
  EXPECT_EQ(rig.accounting(again, "billing").done, 3u);
}

TEST(Core, ACleanGoodbyeAfterARestartGivesBackWhatWasNotClaimedD10) {
  Scene s;
  s.publish(0, {"a"});
  s.client->subscribe("billing");
  s.rig.restart();
  s.reconnect().subscribe("billing");
  TestClient& other = s.rig.connect(2);
  other.subscribe("billing");
  s.rig.close(*s.client);
  EXPECT_EQ(other.take().size(), 1u) << "at once";
  EXPECT_EQ(s.tracked(0)->unexplained, 0u);
}

}  // namespace
}  // namespace waybill
