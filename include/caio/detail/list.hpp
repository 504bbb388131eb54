#pragma once
// Intrusive doubly linked list: O(1) removal of any element, no allocation.

#include <caio/config.hpp>

namespace caio::inline CAIO_ABI::detail {

struct Link {
  Link* next = nullptr;
  Link* previous = nullptr;

  [[nodiscard]] bool linked() const noexcept { return previous != nullptr; }

  void unlink() noexcept {
    previous->next = next;
    next->previous = previous;
    next = previous = nullptr;
  }
};

/// Elements derive from Link and are owned elsewhere; one leaves by its own unlink(), whatever list holds it.
template <class T>
class List {
 public:
  List() noexcept { clear(); }
  List(const List&) = delete;
  List& operator=(const List&) = delete;

  [[nodiscard]] bool empty() const noexcept { return head_.next == &head_; }
  [[nodiscard]] T& front() const noexcept { return static_cast<T&>(*head_.next); }
  [[nodiscard]] T& back() const noexcept { return static_cast<T&>(*head_.previous); }

  void push_back(T& element) noexcept { insert_before(head_, element); }
  void push_front(T& element) noexcept { insert_before(*head_.next, element); }

  T& pop_front() noexcept {
    T& first = front();
    first.unlink();
    return first;
  }

  /// Moves all of `other` behind the last element.
  void append(List& other) noexcept { splice_before(head_, other); }
  /// Moves all of `other` before the first element.
  void prepend(List& other) noexcept { splice_before(*head_.next, other); }

 private:
  static void insert_before(Link& place, Link& link) noexcept {
    link.next = &place;
    link.previous = place.previous;
    place.previous->next = &link;
    place.previous = &link;
  }

  static void splice_before(Link& place, List& other) noexcept {
    if (other.empty()) return;
    Link* const first = other.head_.next;
    Link* const last = other.head_.previous;
    first->previous = place.previous;
    place.previous->next = first;
    last->next = &place;
    place.previous = last;
    other.clear();
  }

  void clear() noexcept { head_.next = head_.previous = &head_; }

  Link head_;
};

}  // namespace caio::inline CAIO_ABI::detail
