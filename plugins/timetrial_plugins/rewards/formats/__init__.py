"""The conversations and texts in which published reward models read solutions, a file each."""
