// Goal: the memory lives as long as any slice of it, and no longer. Method: a counted owner, and
// slices that outlive their parent.
#include "protocol/base/shared_bytes.h"

#include <gtest/gtest.h>

namespace waybill {
namespace {

TEST(SharedBytes, ASliceOutlivesWhatItWasCutFrom) {
  SharedBytes slice;
  {
    SharedBytes whole(to_vector(as_bytes("0123456789")));
    slice = whole.slice(3, 4);
  }
  EXPECT_EQ(as_text(slice.view()), "3456");
  EXPECT_EQ(as_text(slice.slice(1, 2).view()), "45");
  EXPECT_EQ(slice.size(), 4U);
}

TEST(SharedBytes, TheOwnerGoesWithTheLastSlice) {
  auto owner = std::make_shared<ByteVector>(10);
  std::weak_ptr<ByteVector> watch = owner;
  SharedBytes whole(owner, *owner);
  owner.reset();
  SharedBytes slice = whole.slice(0, 0);
  whole = SharedBytes();
  EXPECT_FALSE(watch.expired());
  slice = SharedBytes();
  EXPECT_TRUE(watch.expired());
}

TEST(SharedBytes, CopiesShareTheMemory) {
  SharedBytes whole(ByteVector(100));
  SharedBytes copy = whole;
  EXPECT_EQ(copy.view().data(), whole.view().data());
  EXPECT_TRUE(SharedBytes().empty());
  EXPECT_TRUE(SharedBytes(ByteVector()).empty());
}

}  // namespace
}  // namespace waybill
