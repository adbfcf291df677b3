"""What a tool is: the manifest, the archive that carries it, and how an author builds one."""
