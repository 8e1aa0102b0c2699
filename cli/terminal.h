// The streams that a command talks to, and whether people are at the other end of them.
// Not synchronised: one thread prints at a time.
#pragma once

#include <istream>
#include <ostream>
#include <string_view>

namespace mptd::cli {

class Terminal {
 public:
  struct Streams {
    std::istream* in;
    std::ostream* out;
    std::ostream* err;
    bool in_is_terminal = false;
    bool err_is_terminal = false;
  };

  // The streams outlive this object.
  explicit Terminal(const Streams& streams) : streams_(streams) {}

  // Writes to standard output at once. False when it cannot be written any more (a closed pipe, a full disk): whoever
  // only reads then stops, whoever writes to the daemon goes on.
  bool Print(std::string_view text);
  // One line on standard error, "mptctl: " in front.
  void Error(std::string_view text);
  // As it is on standard error, for progress and hints.
  void Note(std::string_view text);
  // Asks a yes/no question; anything but a yes is a no.
  bool Confirm(std::string_view question);

  bool in_is_terminal() const { return streams_.in_is_terminal; }
  bool err_is_terminal() const { return streams_.err_is_terminal; }
  // The errno of the first failed Print, 0 when all went well.
  int write_error() const { return write_error_; }

 private:
  const Streams streams_;
  int write_error_ = 0;
};

}  // namespace mptd::cli
