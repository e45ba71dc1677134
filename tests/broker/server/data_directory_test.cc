// Goal: a data directory is made once, recognised ever after, never shared, and every way in which
// it can be unusable is said in a sentence with the documented exit code (S6, S24).
// Method: real directories; damage is written into them by hand.
#include "broker/server/data_directory.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "broker/server/start_error.h"
#include "protocol/base/checksum.h"
#include "tests/support/broker_process.h"

namespace waybill {
namespace {

using std::filesystem::path;

Superblock sample() {
  Superblock superblock;
  superblock.shard_count = 3;
  superblock.created_at = WallTime{1'700'000'000'000};
  for (std::size_t i = 0; i < 16; ++i) superblock.broker_id.bytes[i] = std::byte(i);
  return superblock;
}

void overwrite(const path& file, Bytes bytes) {
  std::ofstream out(file, std::ios::binary | std::ios::trunc);
  out << as_text(bytes);
}

ByteVector contents(const path& file) {
  std::ifstream in(file, std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(in)), {});
  return to_vector(as_bytes(text));
}

/// The exit code and message of a refused open.
std::pair<ExitCode, std::string> refusal(const path& directory,
                                         std::optional<std::uint16_t> shards = {}) {
  try {
    DataDirectory::open(directory, shards, std::chrono::milliseconds(1));
  } catch (const StartError& error) {
    return {error.code(), error.what()};
  }
  return {ExitCode::kClean, ""};
}

TEST(Superblock, GoldenBytesOfVersionTwo) {
  ByteVector bytes = encode_superblock(sample());
  ASSERT_EQ(bytes.size(), kSuperblockSize);
  std::string hex;
  for (std::size_t i = 8; i < 48; ++i) {
    hex += "0123456789abcdef"[static_cast<unsigned>(bytes[i]) >> 4];
    hex += "0123456789abcdef"[static_cast<unsigned>(bytes[i]) & 15];
  }
  EXPECT_EQ(hex,
            "535550455242"
            "4c4b"  // magic "SUPERBLK"
            "02000000"
            "0300"
            "0000"                              // version, shards, reserved
            "000102030405060708090a0b0c0d0e0f"  // id
            "0068e5cf8b010000");                // created
  EXPECT_EQ(load_little<std::uint64_t>(bytes.data()), xxh3_64(Bytes(bytes).subspan(8)));
  for (std::size_t i = 48; i < bytes.size(); ++i) ASSERT_EQ(bytes[i], std::byte{0});
  EXPECT_EQ(decode_superblock(bytes).value(), sample());
}

TEST(Superblock, TheExampleOnThePageIsRead) {
  std::ifstream in(WAYBILL_SOURCE_DIR "/storage/FORMAT.md");
  std::string page((std::istreambuf_iterator<char>(in)), {});
  std::size_t begin = page.find("```hex\n", page.find("## Superblock")) + 7;
  std::istringstream lines(page.substr(begin, page.find("```", begin) - begin));
  ByteVector bytes;
  std::string word;
  while (lines >> word) {
    if (!word.ends_with(":"))
      bytes.push_back(static_cast<std::byte>(std::stoul(word, nullptr, 16)));
  }
  bytes.resize(kSuperblockSize);
  ASSERT_TRUE(decode_superblock(bytes).ok());
  EXPECT_EQ(*decode_superblock(bytes), sample());
}

TEST(Superblock, EveryFlippedBitAndEveryMissingByteIsNoticed) {
  const ByteVector good = encode_superblock(sample());
  for (std::size_t bit = 0; bit < kSuperblockSize * 8; ++bit) {
    ByteVector bad = good;
    bad[bit / 8] ^= std::byte(1u << (bit % 8));
    EXPECT_FALSE(decode_superblock(bad).ok()) << bit;
  }
  for (std::size_t size : {std::size_t{0}, std::size_t{7}, std::size_t{4095}}) {
    EXPECT_EQ(decode_superblock(Bytes(good).first(size)).error(), Errc::kShortData);
  }
}

TEST(Superblock, AnotherVersionIsRecognisedAsSuch) {
  for (const std::uint32_t version : {1U, kDataFormatVersion + 1, 70'000U}) {
    ByteVector bytes = encode_superblock(sample());
    store_little(bytes.data() + 16, version);
    EXPECT_EQ(decode_superblock(bytes).error(), Errc::kUnsupportedFormat) << version;
    EXPECT_EQ(superblock_format(bytes), version);
  }
  EXPECT_EQ(superblock_format(encode_superblock(sample())), kDataFormatVersion);
  EXPECT_EQ(superblock_format(ByteVector(kSuperblockSize)), 0U);
  EXPECT_EQ(superblock_format({}), 0U);
}

TEST(DataDirectory, S24IdentityAndShardCountStayAsCreated) {
  TempDirectory temp;
  path data = temp.path() / "made" / "with parents";
  Superblock first;
  {
    DataDirectory directory = DataDirectory::open(data, 3);
    first = directory.superblock();
    EXPECT_TRUE(directory.created());
    EXPECT_EQ(first.shard_count, 3);
    EXPECT_FALSE(first.broker_id.is_nil());
    EXPECT_TRUE(is_directory(data / "shard-2"));
  }
  {
    DataDirectory directory = DataDirectory::open(data, std::nullopt);
    EXPECT_FALSE(directory.created());
    EXPECT_EQ(directory.superblock(), first);
  }
  auto [code, message] = refusal(data, 4);
  EXPECT_EQ(code, ExitCode::kUsage);
  EXPECT_NE(message.find("created with 3"), std::string::npos) << message;
}

TEST(DataDirectory, S6ASecondBrokerIsKeptOut) {
  TempDirectory temp;
  DataDirectory holder = DataDirectory::open(temp.path(), 1);
  auto [code, message] = refusal(temp.path());
  EXPECT_EQ(code, ExitCode::kLocked);
  EXPECT_NE(message.find("in use by process"), std::string::npos) << message;
}

TEST(DataDirectory, ACreationThatWasCutOffIsBegunAgain) {
  TempDirectory temp;
  overwrite(temp.path() / "superblock.new", as_bytes("half"));
  create_directories(temp.path() / "shard-0" / "journal");
  create_directories(temp.path() / "shard-1");
  EXPECT_TRUE(DataDirectory::open(temp.path(), 2).created());
  EXPECT_TRUE(is_directory(temp.path() / "shard-1" / "journal"));
}

TEST(DataDirectory, AShardThatIsGoneIsNotBegunAnewS10) {
  TempDirectory temp;
  {
    DataDirectory made = DataDirectory::open(temp.path(), 2);
  }
  for (const char* gone : {"shard-1/journal", "shard-1"}) {
    remove_all(temp.path() / gone);
    auto [code, message] = refusal(temp.path());
    EXPECT_EQ(code, ExitCode::kDataDirectory);
    EXPECT_NE(message.find("shard-1/journal is missing"), std::string::npos) << message;
    EXPECT_NE(message.find("salvage makes the shard anew"), std::string::npos) << message;
    EXPECT_FALSE(exists(temp.path() / gone));
  }
  remove_all(temp.path() / "shard-0" / "journal");
  EXPECT_NE(refusal(temp.path()).second.find("the catalog of all topics"), std::string::npos);
}

TEST(DataDirectory, DamageOtherVersionsAndMissingSuperblocksAreRefusedWithTheDirectoryUntouched) {
  TempDirectory temp;
  {
    DataDirectory made = DataDirectory::open(temp.path(), 1);
  }
  path file = temp.path() / "superblock";
  const ByteVector good = contents(file);

  ByteVector damaged = good;
  damaged[30] ^= std::byte{1};
  overwrite(file, damaged);
  auto [damage_code, damage] = refusal(temp.path());
  EXPECT_EQ(damage_code, ExitCode::kDataDirectory);
  EXPECT_NE(damage.find("is damaged"), std::string::npos) << damage;
  EXPECT_TRUE(equal(contents(file), damaged));

  const std::string own = std::to_string(kDataFormatVersion);
  for (const auto& [version, whose] : {std::pair(1U, "an older version of waybilld"),
                                       std::pair(kDataFormatVersion + 1, "a newer version of")}) {
    ByteVector other = good;
    store_little(other.data() + 16, version);
    overwrite(file, other);
    auto [other_code, advice] = refusal(temp.path());
    EXPECT_EQ(other_code, ExitCode::kDataDirectory);
    for (const std::string& part :
         {"has format " + std::to_string(version), std::string(whose), "reads format " + own,
          std::string("Start the version that made it"), temp.path().string()}) {
      EXPECT_NE(advice.find(part), std::string::npos) << advice;
    }
    EXPECT_TRUE(equal(contents(file), other));
  }

  remove(file);
  overwrite(temp.path() / "shard-0" / "journal" / "0000000000000001.wbj", as_bytes("something"));
  auto [missing_code, missing] = refusal(temp.path());
  EXPECT_EQ(missing_code, ExitCode::kDataDirectory);
  EXPECT_NE(missing.find("superblock is missing"), std::string::npos) << missing;

  overwrite(file, good);
  EXPECT_FALSE(DataDirectory::open(temp.path(), 1).created());
}

TEST(DataDirectory, AFileInItsPlaceIsExplained) {
  TempDirectory temp;
  path data = temp.path() / "data";
  overwrite(data, as_bytes("a file"));
  auto [code, message] = refusal(data);
  EXPECT_EQ(code, ExitCode::kDataDirectory);
  EXPECT_NE(message.find(data.string()), std::string::npos) << message;
}

TEST(DataDirectory, ErrorsOfTheSystemComeWithAdvice) {
  auto advice = [](int os_errno) {
    return explain_disk_error("/data", {Errc::kIo, os_errno, "write"});
  };
  EXPECT_NE(advice(ENOSPC).find("free some space"), std::string::npos);
  EXPECT_NE(advice(EACCES).find("writable by the user"), std::string::npos);
  EXPECT_NE(advice(EROFS).find("read-only"), std::string::npos);
  EXPECT_NE(advice(EIO).find("dmesg"), std::string::npos);
}

}  // namespace
}  // namespace waybill
