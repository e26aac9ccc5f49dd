// Extended attributes.
#include <sys/xattr.h>

#include "served.h"

namespace handlefs::test {
namespace {

struct XattrFile : Served {
  XattrFile() : XattrFile(FakeKernel::Setup{}) {}
  explicit XattrFile(const FakeKernel::Setup& setup) : Served(setup) {
    tree.Write("a", "");
    node = kernel.Node(kRoot, "a");
    supported =
        setxattr(tree.Path("a").c_str(), "user.host", "12345", 5, 0) == 0;
  }

  abi::SetxattrIn Head(size_t size, uint32_t flags) {
    abi::SetxattrIn in{};
    in.size = static_cast<uint32_t>(size);
    in.flags = flags;
    return in;
  }
  int Set(std::string_view name, std::string_view value, uint32_t flags) {
    return ErrorOf(kernel.Call(Message(Opcode::kSetxattr, node)
                                   .Put(Head(value.size(), flags))
                                   .Name(name)
                                   .Data(value)));
  }
  Answer Get(std::string_view name, uint32_t size) {
    return kernel.Call(Message(Opcode::kGetxattr, node)
                           .Put(abi::GetxattrIn{.size = size, .padding = 0})
                           .Name(name));
  }
  Answer List(uint32_t size) {
    return kernel.Call(Message(Opcode::kListxattr, node)
                           .Put(abi::GetxattrIn{.size = size, .padding = 0}));
  }
  std::string OnHost(const char* name) {
    char value[100];
    ssize_t n = getxattr(tree.Path("a").c_str(), name, value, sizeof(value));
    return n < 0 ? "missing" : std::string(value, static_cast<size_t>(n));
  }

  uint64_t node;
  bool supported;
};

TEST_CASE("GETXATTR", "[xattr]") {
  XattrFile f;
  if (!f.supported) return;
  Answer size = f.Get("user.host", 0);
  REQUIRE(size.ok());
  REQUIRE(size.payload.size() == 8);
  CHECK(size.Get<abi::GetxattrOut>().size == 5);
  CHECK(f.Get("user.host", 100).payload == "12345");
  CHECK(f.Get("user.host", 5).payload == "12345");
  CHECK(f.Get("user.host", 0xffffffff).payload == "12345");
  CHECK(ErrorOf(f.Get("user.host", 4)) == ERANGE);
  CHECK(ErrorOf(f.Get("user.none", 100)) == ENODATA);
  CHECK(ErrorOf(f.Get("user.none", 0)) == ENODATA);
  CHECK_FALSE(f.Get("", 100).ok());
  CHECK_FALSE(f.Get(std::string(300, 'x'), 100).ok());
  CHECK_FALSE(f.Get("nonsense", 100).ok());
}

TEST_CASE("LISTXATTR", "[xattr]") {
  XattrFile f;
  if (!f.supported) return;
  // The host may have more (a security label).
  Answer list = f.List(65536);
  REQUIRE(list.ok());
  CHECK(list.payload.find(std::string("user.host\0", 10)) != std::string::npos);
  Answer size = f.List(0);
  REQUIRE(size.ok());
  CHECK(size.Get<abi::GetxattrOut>().size == list.payload.size());
  CHECK(ErrorOf(f.List(1)) == ERANGE);
}

TEST_CASE("SETXATTR and REMOVEXATTR", "[xattr]") {
  XattrFile f;
  if (!f.supported) return;
  CHECK(f.Set("user.a", "value", 0) == 0);
  CHECK(f.OnHost("user.a") == "value");
  CHECK(f.Set("user.a", "again", XATTR_CREATE) == EEXIST);
  CHECK(f.Set("user.b", "again", XATTR_REPLACE) == ENODATA);
  CHECK(f.Set("user.a", "", XATTR_REPLACE) == 0);
  CHECK(f.OnHost("user.a").empty());
  CHECK(f.Set("user.a", "x", 0xff) == EINVAL);
  CHECK(f.Set("nonsense", "x", 0) == EOPNOTSUPP);
  auto remove = [&](std::string_view name) {
    return ErrorOf(
        f.kernel.Call(Message(Opcode::kRemovexattr, f.node).Name(name)));
  };
  CHECK(remove("user.a") == 0);
  CHECK(f.OnHost("user.a") == "missing");
  CHECK(remove("user.a") == ENODATA);
}

TEST_CASE("SETXATTR in the short form of a kernel without SETXATTR_EXT",
          "[xattr]") {
  auto offered = OfferedFlags();
  offered.Remove(proto::init::kSetxattrExt);
  XattrFile f(FakeKernel::Setup{.offered = offered});
  if (!f.supported) return;
  REQUIRE_FALSE(f.kernel.granted().Has(proto::init::kSetxattrExt));
  struct {
    uint32_t size, flags;
  } head{5, 0};
  CHECK(f.kernel
            .Call(Message(Opcode::kSetxattr, f.node)
                      .Put(head)
                      .Name("user.a")
                      .Data("value"))
            .ok());
  CHECK(f.OnHost("user.a") == "value");
  // The long form has no meaning there: its third word begins a name.
  CHECK_FALSE(f.Set("user.b", "value", 0) == 0);
  CHECK(f.OnHost("user.b") == "missing");
}

TEST_CASE("a size that is not the value's is refused", "[xattr]") {
  XattrFile f;
  for (size_t said : {4, 6, 0, 65536, 0x7fffffff}) {
    CAPTURE(said);
    CHECK(ErrorOf(f.kernel.Call(Message(Opcode::kSetxattr, f.node)
                                    .Put(f.Head(said, 0))
                                    .Name("user.a")
                                    .Data("12345"))) == EINVAL);
  }
  CHECK(f.OnHost("user.a") == "missing");
}

TEST_CASE("values of the largest size and beyond", "[xattr]") {
  XattrFile f;
  if (!f.supported) return;
  // Whether the host takes the first is its affair; the second nobody does.
  f.Set("user.big", std::string(65536, 'v'), 0);
  CHECK(f.Set("user.big", std::string(65537, 'v'), 0) == E2BIG);
  f.kernel.Barrier();
}

TEST_CASE("extended attributes of what is not there", "[xattr]") {
  XattrFile f;
  for (uint64_t node : kForeignNodes) {
    f.node = node;
    CAPTURE(node);
    CHECK(ErrorOf(f.Get("user.a", 100)) == ESTALE);
    CHECK(ErrorOf(f.List(100)) == ESTALE);
    CHECK(f.Set("user.a", "x", 0) == ESTALE);
    CHECK(ErrorOf(f.kernel.Call(
              Message(Opcode::kRemovexattr, node).Name("user.a"))) == ESTALE);
  }
}

TEST_CASE("extended attributes of a link are not its target's", "[xattr]") {
  XattrFile f;
  if (!f.supported) return;
  std::filesystem::create_symlink("a", f.tree.Path("link"));
  f.node = f.kernel.Node(kRoot, "link");
  CHECK_FALSE(f.Get("user.host", 100).ok());
  CHECK(f.Set("user.host", "changed", 0) != 0);
  CHECK(f.OnHost("user.host") == "12345");
}

}  // namespace
}  // namespace handlefs::test
