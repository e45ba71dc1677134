// Goal: an operator stops a group and lets it go on, moves it, sees why it stands still and that
// every message is accounted for (D9, D13, D15, D19); publishers say when (D8, D12).
// Method: the real waybill against the real waybilld; JSON of one command is compared with what
// another one did.
#include <boost/json.hpp>

#include "tests/e2e/waybill_run.h"

namespace waybill {
namespace {

class Operator : public WaybillRun {
 protected:
  /// All that is ready, printed; the group's lines.
  std::string consume_all() {
    Finished end = waybill({"consume", "billing", "--exit-at-end"});
    EXPECT_EQ(end.exit_code, 0) << end;
    return end.out;
  }
  std::string waiting_for() { return std::string(in_partition("waiting_for").as_string()); }
};

TEST_F(Operator, ProducersAreListedAndRemoved_D21) {
  BlockingClient client(client_of(broker_));
  ProducerId id{*parse_uuid("0191d3c4-7e2a-7c3b-9f10-5a6b7c8d9e0f")};
  ASSERT_TRUE(client.request(OpenProducerRequest{id, 3, "lane \x1b[2J"}).ok());
  boost::json::value listed = json_of({"producer", "list"});
  ASSERT_EQ(listed.as_array().size(), 1U);
  EXPECT_EQ(listed.at(0).at("id").as_string(), to_string(id.uuid));
  EXPECT_EQ(listed.at(0).at("epoch").as_int64(), 3);
  Finished shown = waybill({"producer", "list"});
  EXPECT_TRUE(shown.out.contains("lane \\x1b[2J")) << shown;

  EXPECT_EQ(waybill({"producer", "remove", "no-id", "--yes"}).exit_code, 2);
  std::string other = "0191d3c4-7e2a-7c3b-9f10-5a6b7c8d9e10";
  EXPECT_EQ(waybill({"producer", "remove", other, "--yes"}).exit_code, 3);
  EXPECT_EQ(waybill({"producer", "remove", to_string(id.uuid)}).exit_code, 2) << "no --yes";
  Finished removed = waybill({"producer", "remove", to_string(id.uuid), "--yes"});
  EXPECT_EQ(removed.exit_code, 0) << removed;
  EXPECT_TRUE(json_of({"producer", "list"}).as_array().empty());
}

}  // namespace
}  // namespace waybill
